"""The table of the matrix, from cells written by hand."""

from __future__ import annotations

from .table import table

CELLS = [
    ("merge", "GLoRA", "GPT-2", "ok", ""),
    ("merge", "GLoRA", "T5", "BAD", ""),
    ("merge", "GraLoRA", "GPT-2", "ok", ""),
    ("a_damaged_file", "GLoRA", "GPT-2", "no", "is truncated\nor damaged"),
    ("a_damaged_file", "GLoRA", "T5", "–", "has no file"),
    ("a_damaged_file", "GraLoRA", "GPT-2", "no", "another file " + "x" * 200),
]


def test_the_table() -> None:
    assert table(CELLS)[:4] == [
        "                GLoRA        GraLoRA",
        "                GPT-2 T5     GPT-2 T5",
        "merge           ok    BAD    ok",
        "a damaged file  no    –      no",
    ]


def test_each_refusal_is_shown_once_and_shortened() -> None:
    assert table(CELLS)[6:] == ["  a damaged file: no  is truncated or damaged", "  a damaged file: –  has no file"]
    long = table(CELLS[5:])[-1]
    assert long.startswith("  a damaged file: no  another file xxx") and long.endswith("x…") and len(long) < 180
