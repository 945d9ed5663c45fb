"""What merging in bfloat16 leaves of a real model's weights and of the adapter's work, ours beside stock PEFT's."""

from __future__ import annotations

from math import isfinite

from glora_lab.drawing.picture import Picture, draw, draws
from glora_lab.drawing.run_colors import kind_color
from glora_lab.drawing.theme import listed, plain
from glora_lab.drawing.traces import NAMES, Layout, bars, on, side_by_side
from glora_lab.ideas.merging.record import OURS

from .record_drift import DriftRow, RealDrift

HEIGHT = 360


@draws(RealDrift)
def draw_real_drift(drift: RealDrift) -> Picture:
    """Bars for each library and method: left the drift of the weights after the most cycles, right the output's error
    once merged, relative to what the adapter does.

    In words: the drift after each number of cycles, the share of numbers that changed, and the output's errors.

    Args:
        drift: what the package has stored of merging on the real model.

    Raises:
        ValueError: for none.
    """
    if not drift.rows:
        raise ValueError("`drift` (=()) must have at least one row")
    libraries = list(dict.fromkeys(row.by for row in drift.rows))
    cycles = max(drift.rows[0].drift)
    left: Layout = {"title": f"drift of the weights, {cycles} cycles", "tickformat": ".1%", "rangemode": "tozero"}
    right: Layout = {"title": "output error ÷ adapter's effect", "tickformat": ".0%", "rangemode": "tozero"}
    return draw(
        [trace for by in libraries for trace in _bars(drift, by)],
        _finding(drift),
        _in_words(drift),
        height=HEIGHT,
        margin={"t": 92, "b": 56, "r": 16},
        barmode="group",
        showlegend=True,
        **side_by_side("", left, right, **NAMES),
    )


def _bars(drift: RealDrift, by: str) -> list[Layout]:
    rows = [row for row in drift.rows if row.by == by]
    names, colors = [plain(row.method) for row in rows], [kind_color(row.method) for row in rows]
    look: Layout = {"marker": {"pattern": {"shape": "" if by == OURS else "/"}}, "name": by, "legendgroup": by}
    ends, merged = [_end(row) for row in rows], [row.merged for row in rows]
    shown = [[value if isfinite(value) else None for value in values] for values in (ends, merged)]
    return [
        bars(names, shown[0], colors, "%{x}: %{y:.3g}", text=[f"{one:.2g}" for one in ends], **look) | on(1),
        bars(names, shown[1], colors, "%{x}: %{y:.3g}", text=[f"{one:.2g}" for one in merged], showlegend=False, **look)
        | on(2),
    ]


def _end(row: DriftRow) -> float:
    return row.drift[max(row.drift)]


def _worst(drift: RealDrift, *, ours: bool) -> float:
    return max((_end(row) for row in drift.rows if (row.by == OURS) == ours), default=0.0)


def _finding(drift: RealDrift) -> str:
    ours, stock = _worst(drift, ours=True), _worst(drift, ours=False)
    cycles = max(drift.rows[0].drift)
    kept = "every bit is back" if ours == 0 else f"drift {ours:.2g}"
    return f"After {cycles} cycles of merging in bfloat16: <b>{kept}</b> with ours, drift {stock:.2g} with stock PEFT's"


def _in_words(drift: RealDrift) -> str:
    said = []
    for row in drift.rows:
        off = listed(f"{value:.2g} after {n}" for n, value in row.drift.items())
        said.append(
            f"{row.method} by {row.by}: drift {off} cycles, {row.changed:.0%} of a layer's numbers with other bits; "
            f"the output is off by {row.unmerged:.2g} unmerged and {row.merged:.2g} merged, of what the adapter does"
        )
    return f"{'. '.join(said)}."
