"""What models write, each after the same prompts, one below the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from glora_lab.drawing.picture import Picture, draw, draws
from glora_lab.drawing.theme import FROZEN, METHOD_COLORS, TEXT, by_name, note, path_color, plain

from .record_writing import Writing

MONO = "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"
LINE, GAP, TOP, BOTTOM = 22, 12, 50, 8  # pixels
ADAPTED = METHOD_COLORS["LoRA"]  # what was written by a model that has no colour of its own
ENDINGS = str.maketrans({"\n": "↵", "\r": "↵", "\t": "→", "\0": "·"})


@draws(Writing)
def draw_writing(writing: Writing | Mapping[str, Writing], *, capitals: bool = True) -> Picture:
    """Each prompt with what follows it. The end of a line that was written is shown as ↵.

    In words: each prompt and what comes after it, of each model.

    Args:
        writing: what `write` returns; of several models by name, given the same prompts, the lines stand in groups.
        capitals: whether the title counts capitals, as where they were to be learnt.
    """
    rows = by_name(writing, Writing)
    prompts = next(iter(rows.values())).prompts if rows else ()
    inner = len(prompts) * (len(rows) * LINE + GAP)
    notes: list[dict[str, Any]] = []
    for n, prompt in enumerate(prompts):
        for m, (name, row) in enumerate(rows.items()):
            y = 1 - (n * (len(rows) * LINE + GAP) + m * LINE) / inner
            color = _color(name)
            said = f"<span style='color:{TEXT}'>{_literal(prompt)}</span><b>{_literal(row.texts[n])}</b>"
            notes.append(_line(0.0, y, said, color, font=MONO, anchor="left"))
            if name:
                notes.append(_line(0.0, y, f"<b>{plain(name)}</b>", color, anchor="right", xshift=-10))
    widest = max(map(len, rows), default=0)
    bare: dict[str, Any] = {"visible": False, "range": (0, 1), "fixedrange": True}
    layout: dict[str, Any] = {
        "margin": {"t": TOP, "b": BOTTOM, "l": 20 + 8 * widest, "r": 8},
        "xaxis": bare,
        "yaxis": bare,
    }
    title = _title(rows) if capitals else "What is written after the same words"
    return draw([], title, _in_words(rows), height=TOP + BOTTOM + inner, notes=notes, **layout)


def _in_words(rows: Mapping[str, Writing]) -> str:
    """Every prompt and what each model writes after it."""
    return " ".join(
        f"{name + ': ' if name else ''}{'; '.join(_said(row, n) for n in range(len(row.prompts)))}."
        for name, row in rows.items()
    )


def _said(row: Writing, n: int) -> str:
    return f"after “{row.prompts[n].translate(ENDINGS)}” comes “{row.texts[n].translate(ENDINGS)}”"


def _title(rows: Mapping[str, Writing]) -> str:
    if not rows:
        return "Nothing has been written yet"
    shares = [f"{plain(name) + ': ' if name else ''}<b>{row.capitals:.0%}</b>" for name, row in rows.items()]
    return f"{', '.join(shares)} of the letters written are capitals"


def _color(name: str) -> str:
    own = path_color(name)
    return own if own != FROZEN or name == "frozen" else ADAPTED if name else TEXT


def _literal(text: str) -> str:
    """Spaces stay: SVG would draw several as one, and none at an end."""
    return plain(text.translate(ENDINGS)).replace(" ", "\u00a0")


def _line(
    x: float, y: float, text: str, color: str, *, anchor: str, font: str | None = None, xshift: int = 0
) -> dict[str, Any]:
    line = note(x, y, text, color, anchor=(anchor, "top"), xshift=xshift)
    line["font"] |= {"family": font} if font else {}
    return line
