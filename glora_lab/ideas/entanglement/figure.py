"""Gradient entanglement: the gradient of full fine-tuning beside what adapters make of it, and how far off that is.

All heatmaps share one scale of powers of ten, for an outlier's gradient is a hundred times the others'. Adapters'
gradients are drawn times the factor that the report compares them with. The heatmaps say where, the lines below
how much: the deviation of every input channel, the limit drawn in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from glora_lab.drawing.picture import Picture, draw, draws
from glora_lab.drawing.theme import IN_AXIS, LINE, dashes, listed, note, path_color, plain

from .figure_heatmaps import MOST_NAMED, Layout, axes_of, heatmap, marks, outlines, scale
from .record import LIMIT, GradientReport

FULL = "full fine-tuning"
BOTTOM = (0.0, 0.28)  # where the lines stand, below the heatmaps
Reports: TypeAlias = GradientReport | Mapping[str, GradientReport]


@draws(GradientReport)
def draw_gradient_report(reports: Reports, *, limit: float = LIMIT) -> Picture:
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
        traces.append(heatmap(values, top, n, name))
        axes |= axes_of(values.shape, n, domain)
        notes += [_heading(name, named.get(name), sum(domain) / 2, colors[name]), *marks(first, n)]
        shapes += outlines(named[name], n, colors[name], limit) if name in named else []
    traces += _lines(named, colors)
    return draw(
        traces,
        _title(named, limit),
        _in_words(named, limit),
        height=632,
        notes=notes,
        shapes=[*shapes, _limit(len(first.deviation), limit)],
        coloraxis=scale(top),
        legend={"y": BOTTOM[1] + 0.01},
        margin={"t": 116, "r": 76},
        xaxis={"domain": (0, 1), "anchor": "y", "title": {"text": IN_AXIS}, "showgrid": False},
        yaxis={"domain": BOTTOM, "anchor": "x", "title": {"text": "deviation"}, "type": "log", "dtick": 1},
        **axes,
    )


def _in_words(named: Mapping[str, GradientReport], limit: float) -> str:
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
    return f"outlier{'s' * (len(found) > 1)} {listed([*map(str, found[:MOST_NAMED]), *more])}, {several}{times}"


def _heading(name: str, report: GradientReport | None, x: float, color: str) -> Layout:
    says = "∂L/∂W" if report is None else f"J Jᵀ ∂L/∂W{'' if report.factor == 1 else f' × {report.factor:.2g}'}"
    return note(x, 1.05, f"<b>{plain(name)}</b><br><span style='font-size:11px'>{says}</span>", color, size=14)


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
