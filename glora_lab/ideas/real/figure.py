"""Accuracy over parameters on a real model: a line for each arm, a bar for the spread of its seeds."""

from __future__ import annotations

import math
from statistics import median

from glora_lab.drawing.picture import Picture, draw, draws
from glora_lab.drawing.run_colors import kind_color
from glora_lab.drawing.theme import DASHES, FROZEN, listed, note, number, plain, small
from glora_lab.drawing.traces import Layout, beside, dashed, line

from .record import RealCell, RealRuns

HEIGHT = 440
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x")
STEP = 0.022  # of a decade, between arms of one budget, which would lie on one another
HOVER = "%{customdata[0]} parameters, rate %{customdata[1]}<br>%{y:.1%} of the test, %{customdata[2]}"


@draws(RealRuns)
def draw_real_runs(runs: RealRuns) -> Picture:
    """Mean share of the test part over trained parameters (log scale); arms of one budget are drawn side by side.

    In words: each share, the comparisons with LoRA of as many parameters, which of them count and by what rule, how
    much the second best rate loses, and how many runs learnt nothing.

    Args:
        runs: what the package has stored of the real model, or what `make real` made.
    """
    arms = [arm for arm in runs.arms if runs.of(arm)[-1].params]
    traces = [piece(runs, arm, arms[:n]) for n, arm in enumerate(arms) for piece in (_spread, _line)]
    frozen = [cell for cell in runs.cells if not cell.params]
    return draw(
        traces,
        f"{finding(runs)}<br>{small(_below(runs), 12)}",
        in_words(runs),
        height=HEIGHT,
        margin={"t": 128, "b": 52, "r": 24},
        notes=map(_named, frozen),
        shapes=[dashed(FROZEN, x0=0, x1=1, xref="paper", y0=cell.mean, y1=cell.mean) for cell in frozen],
        xaxis={"type": "log", "title": "trained parameters (log scale)", **_ticks(runs)},
        yaxis={"title": "test accuracy, mean of the seeds", "tickformat": ".0%"},
        legend={"y": 1.0},
    )


def _places(runs: RealRuns, arm: str, before: list[str]) -> list[float]:
    """Where on the axis an arm's sizes are drawn: what lies on arms that are drawn already a little aside."""
    cells = runs.of(arm)
    many = sum(len(runs.of(other)) > 1 for other in before)
    aside = 10 ** (STEP * ((many + 1) // 2) * (-1) ** many) if len(cells) > 1 else 1.0
    return [cell.params * aside for cell in cells]


def _line(runs: RealRuns, arm: str, before: list[str]) -> Layout:
    cells, color, alike = runs.of(arm), kind_color(arm), _alike(arm, before)
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(cells) > 1 else "markers",
        "x": _places(runs, arm, before),
        "y": [cell.mean for cell in cells],
        "customdata": [[number(cell.params), f"{cell.lr:g}", _seeds(cell)] for cell in cells],
        "hovertemplate": HOVER + beside(arm),
        "name": plain(arm),
        "legendgroup": arm,
        "marker": {"color": color, "size": 9, "symbol": SYMBOLS[alike % len(SYMBOLS)]},
        "line": {"color": color, "width": 2, "dash": DASHES[alike % len(DASHES)]},
    }


def _alike(arm: str, before: list[str]) -> int:
    """How many of those drawn already have its colour."""
    return sum(kind_color(other) == kind_color(arm) for other in before)


def _spread(runs: RealRuns, arm: str, before: list[str]) -> Layout:
    """From one standard deviation below the mean to one above."""
    x: list[float | None] = []
    y: list[float | None] = []
    for place, cell in zip(_places(runs, arm, before), runs.of(arm), strict=True):
        if not math.isnan(cell.spread):
            x += [place, place, None]
            y += [cell.mean - cell.spread, cell.mean + cell.spread, None]
    look: Layout = {"hoverinfo": "skip", "showlegend": False, "legendgroup": arm}
    return {**line(x, y, f"{arm}, spread", kind_color(arm), "", width=1.5), **look}


def _seeds(cell: RealCell) -> str:
    count = len(cell.tests)
    return "one seed" if count == 1 else f"{count} seeds, spread {100 * cell.spread:.1f} points"


def _named(cell: RealCell) -> Layout:
    text = f"{plain(cell.arm)}, {cell.mean:.1%}"
    return note(0.01, cell.mean, text, size=12, anchor=("left", "bottom"), yref="y")


def _ticks(runs: RealRuns) -> Layout:
    counts = [cell.params for cell in runs.cells if cell.params] or [1]
    low, high = math.log10(min(counts)), math.log10(max(counts))
    marks = [step * 10**n for n in range(int(low), int(high) + 1) for step in (1, 3)]
    return {"tickvals": marks, "ticktext": [number(mark) for mark in marks], "range": (low - 0.2, high + 0.2)}


def finding(runs: RealRuns) -> str:
    """How often another arm is above LoRA of as many parameters, below, or ties with it."""
    beside_lora = runs.against("LoRA")
    if not beside_lora:
        best = max(runs.cells, key=lambda cell: cell.mean, default=None)
        return "No run yet" if best is None else f"<b>{plain(best.name)}</b> has {best.mean:.1%} of the test part"
    above, below = (sum(one.counts and sign * one.difference > 0 for one in beside_lora) for sign in (1, -1))
    ties = len(beside_lora) - above - below
    counted = listed(f"{count} {word}" for count, word in ((ties, "ties"), (above, "above"), (below, "below")))
    return f"Beside LoRA of as many parameters: <b>{counted}</b>"


def _below(runs: RealRuns) -> str:
    seeds = max((len(cell.tests) for cell in runs.cells), default=0)
    what = (
        f"{runs.made.get('model', 'a model')}, {runs.made.get('task', 'a task')}, {runs.made.get('steps', '?')} steps"
    )
    return f"{what}, each at its own best rate; bars: spread over {seeds} seed{'s' * (seeds != 1)}"


def in_words(runs: RealRuns) -> str:
    if not runs.cells:
        return "No run yet."
    cells = "; ".join(f"{cell.name} {cell.mean:.1%} of {number(cell.params)} parameters" for cell in runs.cells)
    return f"Mean shares of the test part: {cells}.{_compared(runs)}{_coarse(runs)}{_asleep(runs)}"


def _compared(runs: RealRuns) -> str:
    beside_lora = runs.against("LoRA")
    if not beside_lora:
        return ""
    counting = [one.in_words for one in beside_lora if one.counts]
    ties = len(beside_lora) - len(counting)
    differ = f" {'; '.join(counting)}." if counting else ""
    rule = "Differences above two standard errors, by the spread of the seeds or by the number of texts, count."
    return f" {ties} of {len(beside_lora)} comparisons with LoRA of as many parameters tie.{differ} {rule}"


def _coarse(runs: RealRuns) -> str:
    grid = [cell.lost_beside for cell in runs.cells if not math.isnan(cell.lost_beside)]
    return f" The second best rate of a cell is {100 * median(grid):.1f} points lower in the median." if grid else ""


def _asleep(runs: RealRuns) -> str:
    count = len(runs.not_begun)
    they = "run at the best rate is" if count == 1 else "runs at the best rate are"
    return f" {count} {they} no further than the frozen model." if count else ""
