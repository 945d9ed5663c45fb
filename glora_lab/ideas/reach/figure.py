"""How near each grid of blocks comes to a change of W: one small panel a change, the error over k, all on one scale.

The dashed line is LoRA's error. A point below it is a win for the blocks, one above it a loss; where all points lie
within the record's margin the panel says a tie. A ring is what training reached.
"""

from __future__ import annotations

from math import log10

from glora_lab.drawing.picture import Picture, draw, draws
from glora_lab.drawing.theme import LINE, TEXT, ending, listed, note, path_color, plain, small
from glora_lab.drawing.traces import Layout, beside, on

from .record import RankReach

MOST_IN_A_ROW = 6
ROW, TOP, BOTTOM, LEGEND = 250, 118, 52, 40  # pixels; the last is from the top
ABOVE, BELOW = 0.16, 0.1  # of a row, between a panel and its neighbours above and below
LETTERS = 90  # of the names in one row
GAP = 0.14  # of a column
MOST_LABELLED = 5  # k values; with more of them only pointing tells the numbers


@draws(RankReach)
def draw_rank_reach(reach: RankReach) -> Picture:
    """The relative error of the best ΔW (0 to 1) over k (1 is LoRA), for each change; means over its draws."""
    names = reach.names
    columns = min(len(names), MOST_IN_A_ROW) or 1
    rows = -(-len(names) // columns) or 1
    traces, notes = [], []
    axes: Layout = {}
    for place, name in enumerate(names):
        across, upward = _place(place, columns, rows)
        traces += _points(reach, name, place + 1)
        axes |= _axes(reach, place + 1, across, upward, first=place % columns == 0, last=place + columns >= len(names))
        notes.append(note(sum(across) / 2, upward[1], _heading(reach, name), TEXT, size=12))
    height = TOP + BOTTOM + ROW * rows
    return draw(
        traces,
        _title(reach),
        _in_words(reach),
        height=height,
        notes=notes,
        margin={"t": TOP, "b": BOTTOM},
        showlegend=True,
        legend={"y": 1 - LEGEND / height, "yanchor": "top", "yref": "container"},
        **axes,
    )


def _in_words(reach: RankReach) -> str:
    """The figure in words."""
    if not reach.rows:
        return "No change was asked for."
    ks = listed(map(str, reach.ks))
    lines = []
    for name in reach.names:
        errors = " / ".join(f"{error:.2f}" for error in reach.errors(name).values())
        lines.append(f"{name} {errors} ({_verdict(reach, name)})")
    gap = reach.training_gap
    reached = "" if gap is None else f" Training came within {gap:.1g} of all of them."
    return f"Least relative error at equal parameters for k = {ks}: {'; '.join(lines)}.{reached}"


def _place(place: int, columns: int, rows: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where a panel lies from left to right and from bottom to top, row by row."""
    row, column = divmod(place, columns)
    left, right = column + GAP * (column > 0), column + 1 - GAP / 2 * (column < columns - 1)
    top, bottom = row + ABOVE * (row > 0), row + 1 - BELOW * (row < rows - 1)
    return (left / columns, right / columns), (1 - bottom / rows, 1 - top / rows)


def _title(reach: RankReach) -> str:
    best = [reach.best(name) for name in reach.names]
    if not best:
        return "No change was asked for"
    lora, ties = best.count(1), best.count(None)
    blocks = len(best) - lora - ties
    if len(best) == 1:
        return f"<b>{plain(reach.names[0])}</b>: {_verdict(reach, reach.names[0])}"
    if lora == len(best):
        return f"k·r directions, and LoRA (k = 1) still comes closest to all {lora} changes"
    return (
        f"More rank wins only where the change has that shape: LoRA wins {lora}, the blocks win {blocks}, tied {ties}"
    )


def _heading(reach: RankReach, name: str) -> str:
    letters = LETTERS // min(len(reach.names), MOST_IN_A_ROW)
    return f"<b>{plain(ending(name, letters))}</b><br>{small(_verdict(reach, name))}"


def _verdict(reach: RankReach, name: str) -> str:
    best = reach.best(name)
    return "a tie" if best is None else "LoRA comes closest" if best == 1 else f"k = {best} comes closest"


def _points(reach: RankReach, name: str, n: int) -> list[Layout]:
    """The line over k and LoRA's error dashed, LoRA's point and the others in their colours, rings where trained."""
    errors, trained = reach.errors(name), reach.trained(name)
    ks, values = list(errors), list(errors.values())
    lines = [{"x": ks, "y": values, "line": {"color": LINE}}]
    if 1 in errors:
        dashed = {"color": path_color("LoRA"), "width": 1.5, "dash": "dash"}
        lines.append({"x": [ks[0], ks[-1]], "y": [errors[1]] * 2, "line": dashed})
    found = [{"mode": "lines", "hoverinfo": "skip", "showlegend": False, **line} for line in lines]
    found += [_dots(reach, name, method, n) for method in ("LoRA", "GraLoRA")]
    if trained:
        found.append(_rings(trained, name) | {"showlegend": n == 1})
    return [{"type": "scatter", **on(n), **trace} for trace in found]


def _dots(reach: RankReach, name: str, method: str, n: int) -> Layout:
    """The least errors of one method, its numbers on the side that the line leaves free."""
    errors, ranks = reach.errors(name), reach.ranks(name)
    mine = [k for k in errors if (k == 1) == (method == "LoRA")]
    falls = reach.best(name) not in (None, 1)
    below = [falls and errors[k] < errors.get(1, 0.0) for k in mine]
    return {
        "x": mine,
        "y": [errors[k] for k in mine],
        "customdata": [ranks[k] for k in mine],
        "mode": "markers+text" if len(errors) <= MOST_LABELLED else "markers",
        "text": [f"{errors[k]:.2f}" for k in mine],
        "textposition": ["bottom center" if under else "top center" for under in below],
        "textfont": {"size": 11},
        "cliponaxis": False,
        "marker": {"color": path_color(method), "size": 9},
        "name": f"{method}, least error",
        "legendgroup": method,
        "showlegend": n == 1 and bool(mine),
        "hovertemplate": "k = %{x}: error %{y:.3f}<br>ΔW of rank %{customdata}" + beside(name),
    }


def _rings(trained: dict[int, float], name: str) -> Layout:
    return {
        "x": list(trained),
        "y": list(trained.values()),
        "mode": "markers",
        "marker": {"symbol": "circle-open", "size": 15, "color": TEXT, "line": {"width": 1.5}},
        "name": "reached by training",
        "legendgroup": "trained",
        "hovertemplate": "k = %{x}: trained to %{y:.3f}" + beside(name),
    }


def _axes(
    reach: RankReach, n: int, across: tuple[float, float], upward: tuple[float, float], *, first: bool, last: bool
) -> Layout:
    ks = reach.ks
    room = 0.12 * log10(ks[-1] / ks[0]) or 0.1  # beside the first and the last k, for their numbers
    x: Layout = {"type": "log", "domain": across, "anchor": f"y{n}", "tickvals": ks, "ticktext": [str(k) for k in ks]}
    x |= {"range": (log10(ks[0]) - room, log10(ks[-1]) + room), "showgrid": False}
    x |= {"title": "k, blocks per side"} if last else {}
    y: Layout = {"domain": upward, "anchor": f"x{n}", "range": (-0.14, 1.12), "showticklabels": first, "dtick": 0.25}
    y |= {"title": "relative error" if first else None, "tickformat": ".2f"}
    return {f"xaxis{n}": x, f"yaxis{n}": y}
