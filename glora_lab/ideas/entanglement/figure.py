"""Gradient entanglement: the gradient of full fine-tuning beside what adapters make of it, and how far off that is.

All heatmaps share one scale of powers of ten, for an outlier's gradient is a hundred times the others'. Adapters'
gradients are drawn times the factor that the report compares them with. The heatmaps say where, the lines below
how much: the deviation of every input channel, the limit drawn in.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log10
from typing import TypeAlias

import numpy as np

from glora_lab.arguments import check_positive_number
from glora_lab.drawing.picture import Picture, draw, draws
from glora_lab.drawing.theme import IN_AXIS, LINE, by_name, dashes, listed, method_color, note, path_color, plain, small
from glora_lab.drawing.traces import Layout, beside, dashed, line, meaning

from .figure_heatmaps import MOST_NAMED, axes_of, gradient, marks, outlines, scale
from .record import LIMIT, GradientReport

FULL = "full fine-tuning"
BOTTOM = (0.0, 0.26)  # where the lines stand, below the heatmaps
AT_LIMIT = {"yref": "y", "xshift": 4}
COMPARED = {
    "as is": "as it is",
    "equal decrease": "multiplied so that a step lowers the loss as much as full fine-tuning's",
    "equal size": "multiplied so that it is as large as full fine-tuning's",
}
Reports: TypeAlias = GradientReport | Mapping[str, GradientReport]


@draws(GradientReport)
def draw_gradient_report(reports: Reports, *, limit: float = LIMIT) -> Picture:
    """Full fine-tuning and each adapter as heatmaps (o rows, i columns); below, the deviation per input channel.

    In words: the convention, the outliers or the strongest channel, and of each adapter the share of channels and the
    number of blocks that are off.

    Args:
        reports: one report, or several of the same layer and batch by name; full fine-tuning's gradient is the first's.
        limit: how many times its own size a channel's gradient may be off before it counts. An adapter of low rank
            is √(in/r) off without any outlier, see `gradient_report`: choose a limit above that.

    Raises:
        ValueError: where there is none, or their layers have different shapes.
    """
    check_positive_number("limit", limit)
    named = _named(reports)
    first = next(iter(named.values()))
    panels = {FULL: first.full} | {name: r.factor * r.effective for name, r in named.items()}
    top = max(float(np.abs(values).max(initial=0.0)) for values in panels.values()) or 1.0
    colors = {FULL: path_color(FULL)} | {name: method_color(report.method) for name, report in named.items()}
    count = len(panels)
    axes: Layout = {}
    traces, shapes, notes = [], [], []
    for n, (name, values) in enumerate(panels.items(), start=1):
        domain = ((n - 1 + 0.04) / count, (n - 0.04) / count)
        traces.append(gradient(values, top, n, name))
        axes |= axes_of(values.shape, n, domain)
        notes += [_heading(name, named.get(name), sum(domain) / 2, colors[name]), *marks(first, n)]
        shapes += outlines(named[name], n, colors[name], limit) if name in named else []
    traces += _lines(named, colors)
    return draw(
        traces,
        _title(named, limit),
        _in_words(named, limit),
        height=500,
        notes=[*notes, note(1.0, log10(limit), f"off: > {limit:.3g}×", size=11, anchor=("left", "middle")) | AT_LIMIT],
        shapes=[*shapes, dashed(LINE, x0=-0.5, x1=len(first.deviation) - 0.5, y0=limit, y1=limit)],
        coloraxis=scale(top),
        legend={"y": BOTTOM[1] + 0.01},
        margin={"t": 116, "r": 92},
        xaxis={"domain": (0, 1), "anchor": "y", "title": IN_AXIS, "showgrid": False},
        yaxis={"domain": BOTTOM, "anchor": "x", "title": "deviation", "type": "log", "dtick": 1},
        **axes,
    )


def _in_words(named: Mapping[str, GradientReport], limit: float) -> str:
    first = next(iter(named.values()))
    return (
        f"Layer {first.layer}, each adapter's gradient {COMPARED[first.scaling]}. "
        f"Input channels by the size of their gradient in full fine-tuning: {_channels(first)}. Off by more than "
        f"{limit:.3g} times: {'; '.join(_words(name, report, limit) for name, report in named.items())}."
    )


def _words(name: str, report: GradientReport, limit: float) -> str:
    blocks, k = len(report.contaminated(limit)), len(report.block_deviation)
    grid = f", in {blocks} of {k * k} blocks" if k > 1 else ""
    return f"{report.deviating(limit):.0%} of the input channels with {name}{grid}"


def _named(reports: Reports) -> dict[str, GradientReport]:
    named = by_name(reports, GradientReport, getattr(reports, "method", ""))
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
    return f"The gradient is off for {shares}<br>{small(where, 13)}"


def _channels(report: GradientReport) -> str:
    """The outliers, or the strongest channel where none is one, and how far it stands out."""
    if not report.full.any():
        return "no channel has a gradient"
    (strongest, prominence), found = report.strongest()[0], report.outliers
    times = f"{prominence:,.{0 if prominence >= 10 else 1}f} times the median gradient"
    if not found:
        return f"no outlier, strongest channel {strongest}, {times}"
    more = [f"{len(found) - MOST_NAMED} more"] if len(found) > MOST_NAMED else []
    several = "the strongest " if len(found) > 1 else ""
    return f"outlier{'s' * (len(found) > 1)} {listed([*map(str, found[:MOST_NAMED]), *more])}, {several}{times}"


def _heading(name: str, report: GradientReport | None, x: float, color: str) -> Layout:
    says = "∂L/∂W" if report is None else f"J Jᵀ ∂L/∂W{'' if report.factor == 1 else f' × {report.factor:.2g}'}"
    return note(x, 1.05, f"<b>{plain(name)}</b><br>{small(says)}", color, size=14)


def _lines(named: Mapping[str, GradientReport], colors: Mapping[str, str]) -> list[Layout]:
    """The deviation of each, in its method's colour; several of one method differ in their dashes."""
    lines = []
    for (name, report), dash in zip(named.items(), dashes(one.method for one in named.values()), strict=True):
        x, y = np.arange(len(report.deviation)), report.deviation.astype(np.float32)
        hover = f"i %{{x}}: %{{y:.3g}} times off{beside(name)}"
        lines.append(line(x, y, name, colors[name], hover, dash=dash, width=1.5, **meaning(x="i")))
    return lines
