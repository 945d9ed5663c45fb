"""Texts, or rows of numbers, and what models say about each: a line for each example, a column for each model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from glora_lab.drawing.picture import Picture, draw, draws
from glora_lab.drawing.theme import RIGHT, TEXT, WRONG, by_name, note, plain, small
from glora_lab.drawing.traces import Layout

from .record_readings import Readings

LINE, TOP, BOTTOM = 24, 72, 8  # pixels
LONGEST, LONGEST_ANSWER = 30, 9  # letters
EXAMPLES = 0.4  # share of the width
WIDE = 2  # models that leave room to say how sure they were

NONE = Readings((), (), (), np.zeros(0))


@draws(Readings)
def draw_readings(readings: Readings | Mapping[str, Readings]) -> Picture:
    """Each example and its label; beside it what the model says, ✓ or ✗, and of one model or two how sure it was. A
    long text is cut.

    In words: how many are right, and each example, whole, with its label and the answer.

    Args:
        readings: what `read` returns; several by name, of the same examples, stand side by side.
    """
    rows = by_name(readings, Readings)
    first = next(iter(rows.values()), NONE)
    columns = ["label", *rows]
    across = {name: EXAMPLES + (1 - EXAMPLES) * (n + 0.5) / len(columns) for n, name in enumerate(columns)}
    height = LINE * len(first.examples) or LINE
    head: Layout = {"anchor": ("center", "bottom"), "yshift": 4}
    notes = [note(across[name], 1.0, f"<b>{plain(name)}</b>", **head) for name in columns]
    for n, example in enumerate(first.examples):
        y = 1 - (n + 0.5) * LINE / height
        notes.append(note(0.0, y, plain(_cut(example, LONGEST)), TEXT, anchor=("left", "middle")))
        notes.append(note(across["label"], y, _called(first.labels[n]), TEXT, anchor=("center", "middle")))
        sure = len(rows) <= WIDE
        notes += [
            note(across[m], y, *_answer(row, n, sure), size=12, anchor=("center", "middle")) for m, row in rows.items()
        ]
    bare: Layout = {"visible": False, "range": (0, 1), "fixedrange": True}
    layout: Layout = {"margin": {"t": TOP, "b": BOTTOM, "l": 12, "r": 8}, "xaxis": bare, "yaxis": bare}
    words = " ".join(_in_words(name, row) for name, row in rows.items())
    return draw([], _title(rows), words, height=TOP + BOTTOM + height, notes=notes, **layout)


def _title(rows: Mapping[str, Readings]) -> str:
    counts = [f"{plain(name) + ': ' if name else ''}<b>{r.right} of {len(r.labels)}</b>" for name, r in rows.items()]
    return f"{', '.join(counts)} right" if rows else "Nothing has been asked yet"


def _in_words(name: str, row: Readings) -> str:
    each = "; ".join(
        f"“{example}” is {label}" + (", right" if label == said else f", read as {said}")
        for example, label, said in zip(row.examples, row.labels, row.said, strict=True)
    )
    return f"{name + ': ' if name else ''}{row.right} of {len(row.labels)} right ({each})."


def _answer(row: Readings, n: int, sure: bool) -> tuple[str, str]:
    right = row.labels[n] == row.said[n]
    words = f"<b>{_called(row.said[n])} {'✓' if right else '✗'}</b>"
    return words + sure * f" {small(f'{row.confidence[n]:.0%}', 10)}", RIGHT if right else WRONG


def _called(answer: str) -> str:
    return plain(_cut(answer, LONGEST_ANSWER))


def _cut(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: letters - 1].rstrip()}…"
