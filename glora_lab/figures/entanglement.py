"""Gradient entanglement: the gradient of full fine-tuning beside what adapters make of it, and how far off that is.

All heatmaps share one scale of powers of ten, for an outlier's gradient is a hundred times the others'. Adapters'
gradients are drawn times the factor that the report compares them with. The heatmaps say where, the lines below
how much: the deviation of every input channel, the limit drawn in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import plotly.graph_objects as go

from glora_lab.figures.theme import (
    IN_AXIS,
    LINE,
    OUT_AXIS,
    SEQUENTIAL,
    TEXT,
    dashes,
    draw,
    listed,
    note,
    path_color,
    plain,
)
from glora_lab.records import GradientReport
from glora_lab.records.gradients import LIMIT

FULL = "full fine-tuning"
MOST_CELLS = 256  # per side; in a larger matrix a cell is the largest of several entries, and the axis says so
DECADES = 4  # what is drawn below the largest value
TOP, BOTTOM = (0.46, 1.0), (0.0, 0.28)
MOST_NAMED = 3
OUTLIER_MARK, STRONGEST_MARK = "▼", "▽"
Layout = dict[str, Any]
Reports: TypeAlias = GradientReport | Mapping[str, GradientReport]


def plot_gradient_report(reports: Reports, *, limit: float = LIMIT) -> go.Figure:
    """Full fine-tuning and each adapter as heatmaps (o rows, i columns); below, the deviation per input channel.

    Args:
        reports: one report, or several of the same layer and batch by name; full fine-tuning's gradient is the first's.
        limit: how many times its own size a channel's gradient may be off before it counts. An adapter of low rank
            is √(in/r) off without any outlier, see `gradient_report`: choose a limit above that.

    Raises:
        ValueError: where there is none, or their layers have different shapes.
    """
    named = _named(reports)
    first = next(iter(named.values()))
    panels = {FULL: first.full} | {name: r.factor * r.effective for name, r in named.items()}
    top = max(float(np.abs(values).max(initial=0.0)) for values in panels.values()) or 1.0
    colors = {FULL: path_color(FULL)} | {name: _color(report) for name, report in named.items()}
    count = len(panels)
    axes: Layout = {}
    traces, shapes, notes = [], [], []
    for n, (name, values) in enumerate(panels.items(), start=1):
        domain = ((n - 1 + 0.04) / count, (n - 0.04) / count)
        traces.append(_heatmap(values, top, n, name))
        axes |= _heatmap_axes(values.shape, n, domain)
        notes += [_heading(name, named.get(name), sum(domain) / 2, colors[name]), *_marks(first, n)]
        shapes += _outlines(named[name], n, colors[name], limit) if name in named else []
    traces += _lines(named, colors)
    return draw(
        traces,
        _title(named, limit),
        height=620,
        notes=notes,
        shapes=[*shapes, _limit(len(first.deviation), limit)],
        coloraxis=_scale(top),
        legend={"y": BOTTOM[1] + 0.01},
        margin={"t": 104, "r": 76},
        xaxis={"domain": (0, 1), "anchor": "y", "title": {"text": IN_AXIS}, "showgrid": False},
        yaxis={"domain": BOTTOM, "anchor": "x", "title": {"text": "deviation"}, "type": "log", "dtick": 1},
        **axes,
    )


def describe_gradient_report(reports: Reports, *, limit: float = LIMIT) -> str:
    """The figure in words."""
    named = _named(reports)
    first = next(iter(named.values()))
    return (
        f"Layer {first.layer}, scaling {first.scaling!r}. "
        f"Input channels by the size of their gradient in full fine-tuning: {_channels(first)}. Off by more than "
        f"{limit:.3g} times: {'; '.join(_words(name, report, limit) for name, report in named.items())}."
    )


def _words(name: str, report: GradientReport, limit: float) -> str:
    blocks, k = len(report.contaminated(limit)), len(report.block_deviation)
    grid = f", in {blocks} of {k * k} blocks" if k > 1 else ""
    return f"{report.deviating(limit):.0%} of the input channels with {name}{grid}"


def _color(report: GradientReport) -> str:
    return path_color(report.method.removeprefix("stock "))


def _named(reports: Reports) -> dict[str, GradientReport]:
    named = {reports.method: reports} if isinstance(reports, GradientReport) else dict(reports)
    shapes = {report.full.shape for report in named.values()}
    if len(shapes) != 1:
        raise ValueError(f"`reports` (={list(named)}) must be at least one, all of a layer of one shape")
    return named


def _title(named: Mapping[str, GradientReport], limit: float) -> str:
    first = next(iter(named.values()))
    of = ["of the input channels ", *[""] * (len(named) - 1)]
    shares = listed(
        f"{report.deviating(limit):.0%} {what}with {plain(name)}"
        for what, (name, report) in zip(of, named.items(), strict=True)
    )
    where = f"<b>{plain(first.layer)}</b>: {_channels(first)}. Off: by more than {limit:.3g} times"
    return f"The gradient is off for {shares}<br><span style='font-size:13px'>{where}</span>"


def _channels(report: GradientReport) -> str:
    """The outliers, or the strongest channel where none is one, and how far it stands out."""
    if not report.full.any():
        return "no channel has a gradient"
    (strongest, prominence), found = report.strongest()[0], report.outliers
    times = f"{prominence:,.{0 if prominence >= 10 else 1}f} times the median"
    if not found:
        return f"no outlier, strongest channel {strongest}, {times}"
    more = [f"{len(found) - MOST_NAMED} more"] if len(found) > MOST_NAMED else []
    several = "the strongest " if len(found) > 1 else ""
    return f"outlier {listed([*map(str, found[:MOST_NAMED]), *more])}, {several}{times}"


def _heading(name: str, report: GradientReport | None, x: float, color: str) -> Layout:
    says = "∂L/∂W" if report is None else f"J Jᵀ ∂L/∂W{'' if report.factor == 1 else f' × {report.factor:.2g}'}"
    return note(x, 1.05, f"<b>{plain(name)}</b><br><span style='font-size:11px'>{says}</span>", color, size=14)


def _heatmap(values: np.ndarray, top: float, n: int, name: str) -> Layout:
    """Sizes as powers of ten, relative to nothing: what is below the scale is drawn as its end."""
    step = _step(values.shape)
    sizes = _largest_of(np.abs(values), step)
    return {
        "type": "heatmap",
        "z": np.log10(np.maximum(sizes, top / 10**DECADES)).astype(np.float32),
        "dx": step,
        "dy": step,
        "x0": (step - 1) / 2,
        "y0": (step - 1) / 2,
        "name": name,
        "coloraxis": "coloraxis",
        "xaxis": f"x{n + 1}",
        "yaxis": f"y{n + 1}",
        "hovertemplate": "o %{y}, i %{x}<br>10^%{z:.2f}<extra>" + plain(name) + "</extra>",
    }


def _step(shape: tuple[int, ...]) -> int:
    return -(-max(shape) // MOST_CELLS)


def _largest_of(sizes: np.ndarray, step: int) -> np.ndarray:
    """The largest of each step×step entries: thinned out, an outlier's one column would be lost."""
    if step == 1:
        return sizes
    rows = np.maximum.reduceat(sizes, np.arange(0, sizes.shape[0], step), axis=0)
    return np.maximum.reduceat(rows, np.arange(0, sizes.shape[1], step), axis=1)


def _heatmap_axes(shape: tuple[int, ...], n: int, domain: tuple[float, float]) -> Layout:
    step = _step(shape)
    coarse = f" (largest of {step}×{step})" if step > 1 else ""
    box = {"showline": True, "mirror": True, "showgrid": False, "zeroline": False, "ticks": ""}
    x = {"domain": domain, "anchor": f"y{n + 1}", "title": {"text": IN_AXIS + coarse}, **box}
    y = {"domain": TOP, "anchor": f"x{n + 1}", "showticklabels": n == 1, **box}
    x["range"], y["range"] = (-0.5, shape[1] - 0.5), (shape[0] - 0.5, -0.5)  # o counts downwards, as a matrix
    if n == 1:
        y["title"] = {"text": OUT_AXIS}
    return {f"xaxis{n + 1}": x, f"yaxis{n + 1}": y}


def _marks(report: GradientReport, n: int) -> list[Layout]:
    """A triangle above the column of each of the strongest outliers; where there is none, a hollow one above the
    strongest channel."""
    columns = report.outliers[:MOST_NAMED] or [i for i, _ in report.strongest()]
    mark = OUTLIER_MARK if report.outliers else STRONGEST_MARK
    return [note(i, TOP[1], mark, TEXT, size=11) | {"xref": f"x{n + 1}"} for i in columns]


def _outlines(report: GradientReport, n: int, color: str, limit: float) -> list[Layout]:
    """A frame around each block that deviates."""
    k = len(report.block_deviation)
    o, i = (size / k for size in report.full.shape)
    return [
        {
            "type": "rect",
            "xref": f"x{n + 1}",
            "yref": f"y{n + 1}",
            **{"x0": col * i - 0.5, "x1": (col + 1) * i - 0.5, "y0": row * o - 0.5, "y1": (row + 1) * o - 0.5},
            "line": {"color": color, "width": 2.5},
        }
        for row, col in report.contaminated(limit)
    ]


def _lines(named: Mapping[str, GradientReport], colors: Mapping[str, str]) -> list[Layout]:
    """One line a report, in its method's colour; several of one method differ in their dashes."""
    drawn = zip(named.items(), dashes(report.method for report in named.values()), strict=True)
    return [_line(name, report, colors[name], dash) for (name, report), dash in drawn]


def _line(name: str, report: GradientReport, color: str, dash: str) -> Layout:
    return {
        "type": "scatter",
        "x": np.arange(len(report.deviation)),
        "y": report.deviation.astype(np.float32),
        "mode": "lines",
        "name": plain(name),
        "line": {"color": color, "width": 1.5, "dash": dash},
        "hovertemplate": "i %{x}: %{y:.3g} times off<extra>" + plain(name) + "</extra>",
    }


def _limit(channels: int, limit: float) -> Layout:
    """A dashed line where deviating begins."""
    line = {"color": LINE, "width": 1.5, "dash": "dash"}
    return {"type": "line", "x0": -0.5, "x1": channels - 0.5, "y0": limit, "y1": limit, "line": line}


def _scale(top: float) -> Layout:
    high = float(np.log10(top))
    ticks = [high - decade for decade in range(DECADES, -1, -1)]
    bar = {
        "thickness": 10,
        "outlinewidth": 0,
        "y": sum(TOP) / 2,
        "len": TOP[1] - TOP[0],
        "tickvals": ticks,
        "ticktext": [f"≤ {10 ** ticks[0]:.1g}", *(f"{10**tick:.1g}" for tick in ticks[1:])],
    }
    return {"colorscale": SEQUENTIAL, "cmin": high - DECADES, "cmax": high, "colorbar": bar}
