"""Images and what a model says about them: "5 → says 2 ✗", right and wrong told by colour and by a mark."""

from __future__ import annotations

from collections.abc import Mapping

from glora_lab.drawing.picture import Picture, draw, draws
from glora_lab.drawing.theme import GREYS, RIGHT, WRONG, by_name, note, plain, small
from glora_lab.drawing.traces import BOX, Layout, heatmap, on

from .record import Predictions

MOST_IMAGES = 8  # per row
ROW, CAPTION, TOP = 68, 38, 46  # pixels
LONGEST_NAME = 7  # letters, of a class
GAP = 0.02  # share of the width between images
STEP = (1 + GAP) / MOST_IMAGES


@draws(Predictions)
def draw_predictions(predictions: Predictions | Mapping[str, Predictions]) -> Picture:
    """The first eight images (h, w) as small grey pictures, each with label, answer and confidence.

    In words: how many of all are right, and of the first eight label and answer.

    Args:
        predictions: what `predict` returns; of several by name, "before" and "after" say, each has a row.
    """
    rows = by_name(predictions, Predictions)
    traces, notes = [], []
    axes: Layout = {}
    height = 1 / max(len(rows), 1)
    picture = ROW / (ROW + CAPTION)
    for n, (name, row) in enumerate(rows.items()):
        bottom = 1 - (n + 1) * height
        domain = (bottom, bottom + height * picture)
        for place in range(min(len(row.images), MOST_IMAGES)):
            axis = n * MOST_IMAGES + place + 1
            across = (place * STEP, (place + 1) * STEP - GAP)
            color = RIGHT if row.labels[place] == row.predicted[place] else WRONG
            traces.append(_image(row, place, axis))
            axes |= _frame(axis, across, domain, color)
            notes.append(note(sum(across) / 2, domain[1], _answer(row, place), color, size=12))
        if name:
            middle = sum(domain) / 2
            notes.append(note(0.0, middle, f"<b>{plain(name)}</b>", anchor=("right", "middle"), xshift=-8))
    margin = {"t": TOP, "b": 8, "l": 76 if any(rows) else 12, "r": 12}
    total = TOP + 8 + len(rows) * (ROW + CAPTION)
    words = " ".join(_describe(name, row) for name, row in rows.items())
    return draw(traces, _title(rows), words, height=total, notes=notes, margin=margin, showlegend=False, **axes)


def _describe(name: str, row: Predictions) -> str:
    """How many are right, and each image's label and answer."""
    answers = ", ".join(
        f"{row.called(label)} read as {row.called(said)}" if label != said else f"{row.called(label)} right"
        for label, said in zip(row.labels[:MOST_IMAGES], row.predicted[:MOST_IMAGES], strict=True)
    )
    return f"{name + ': ' if name else ''}{_right(row)} of {len(row.labels)} right ({answers})."


def _right(row: Predictions) -> int:
    return int((row.labels == row.predicted).sum())


def _title(rows: Mapping[str, Predictions]) -> str:
    counts = [
        f"{plain(name) + ': ' if name else ''}<b>{_right(row)} of {len(row.labels)}</b>" for name, row in rows.items()
    ]
    return f"{', '.join(counts)} right"


def _image(row: Predictions, place: int, axis: int) -> Layout:
    colors = {
        "zmin": min(0.0, float(row.images.min())),
        "zmax": float(row.images.max()) or 1.0,
        "colorscale": GREYS,
        "showscale": False,
    }
    name = plain(f"{row.called(row.labels[place])} → says {row.called(row.predicted[place])}")
    return heatmap(row.images[place], "row %{y}, column %{x}: %{z:.2f}", name=name, **colors, **on(axis))


def _answer(row: Predictions, place: int) -> str:
    label, said = row.labels[place], row.predicted[place]
    sure = small(f"{row.confidence[place]:.0%} sure", 10)
    says = " → ".join(plain(row.called(answer)[:LONGEST_NAME]) for answer in (label, said))
    return f"<b>{says} {'✓' if label == said else '✗'}</b><br>{sure}"


def _frame(axis: int, across: tuple[float, float], domain: tuple[float, float], color: str) -> Layout:
    box = {**BOX, "linecolor": color, "linewidth": 2, "showticklabels": False, "constrain": "domain"}
    square = {"autorange": "reversed", "scaleanchor": f"x{axis}"}
    return {
        f"xaxis{axis}": {"domain": across, "anchor": f"y{axis}", **box},
        f"yaxis{axis}": {"domain": domain, "anchor": f"x{axis}", **square, **box},
    }
