"""What merging leaves: the drift of the base over cycles of merging and unmerging, and the error of the output.

The drift's axis is logarithmic and its lowest tick is zero: a line that lies there has every bit of the base. A cross
marks the cycle after which a weight is no number any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, floor, isfinite, log10
from typing import Any

import numpy as np
import plotly.graph_objects as go

from glora_lab.drawing.theme import FROZEN, METHOD_COLORS, RUN_COLORS, WRONG, draw, listed, plain

from .figure_words import Reports, cycles_in_words, last_drift, libraries_of, named_reports, off_in_words
from .record import OURS, STOCK, MergeReport

COLORS = {OURS: METHOD_COLORS["GLoRA"], STOCK: METHOD_COLORS["full fine-tuning"]}
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "star", "pentagon")
WHOLE = 1e-9  # where zero is drawn when nothing drifts; else one power of ten below what does
MOST_MARKED = 12  # cycles
LEFT, RIGHT_SIDE = (0.0, 0.6), (0.72, 1.0)
Layout = dict[str, Any]


def plot_merge_report(reports: Reports) -> go.Figure:
    """Left the drift of the layer that is farthest off, right the output's error unmerged and merged.

    Args:
        reports: one, or several by name: precisions, or adapters that differ.

    Raises:
        ValueError: where there is none.
    """
    named = named_reports(reports)
    low = _floor(named)
    colors = _colors(named)
    lines = [_line(named, name, by, low, n, colors) for n, (name, by) in enumerate(colors)]
    lost = [(name, by) for name, by in colors if named[name].lost_at(by) is not None]
    crosses = [_cross(named, name, by, n) for n, (name, by) in enumerate(lost)]
    return draw(
        [*_one_legend_for_exact(named, lines, colors), *crosses, *(_bars(named, *pair, colors) for pair in colors)],
        _title(named),
        height=400,
        margin={"t": 104 if len(named) > 1 else 80, "b": 56},
        legend={"y": 1.02},
        xaxis={"domain": LEFT, "title": {"text": "cycles of merging and unmerging"}, "rangemode": "tozero"},
        yaxis=_drift_axis(named, low, len(lost)),
        xaxis2={"domain": RIGHT_SIDE, "anchor": "y2", "showgrid": False},
        yaxis2={
            "anchor": "x2",
            "rangemode": "tozero",
            "title": {"text": "output error ÷ adapter's effect"},
        },
        barmode="group",
    )


def _colors(named: Mapping[str, MergeReport]) -> dict[tuple[str, str], str]:
    """(name, library) → colour: by library where there is one report, else by name."""
    pairs = [(name, by) for name, report in named.items() for by in report.libraries]
    if len(named) == 1:
        return {pair: COLORS.get(pair[1], FROZEN) for pair in pairs}
    own = {name: RUN_COLORS[n % len(RUN_COLORS)] for n, name in enumerate(named)}
    return {pair: own[pair[0]] for pair in pairs}


def _label(named: Mapping[str, MergeReport], name: str, by: str) -> str:
    return by if len(named) == 1 else f"{plain(name)}, {by}"


def _drifts(named: Mapping[str, MergeReport]) -> list[float]:
    values = np.concatenate([report.drift(by) for report in named.values() for by in report.libraries])
    return [float(value) for value in values[np.isfinite(values)]]


def _drift_axis(named: Mapping[str, MergeReport], low: float, crosses: int) -> Layout:
    """Powers of ten from the lowest tick, which is zero, up to what drifts most or to the crosses."""
    bottom = round(log10(low))
    top = max([bottom + 4, *(ceil(log10(value)) for value in _drifts(named) if value > 0)])
    top = max(top, ceil(log10(_cross_at(crosses - 1)))) if crosses else top
    exponents = range(bottom + 1, top + 1, max(1, (top - bottom) // 6))
    return {
        "type": "log",
        "range": (bottom - 0.3, top + 0.3),
        "tickvals": [low, *(10.0**exponent for exponent in exponents)],
        "ticktext": ["0", *("1" if exponent == 0 else f"10<sup>{exponent}</sup>" for exponent in exponents)],
        "title": {"text": "drift of weight and bias"},
    }


def _cross_at(n: int) -> float:
    """The height of the n-th cross: they stand above one another, from 1 upwards."""
    return 3.0**n


def _floor(named: Mapping[str, MergeReport]) -> float:
    """The power of ten that stands for zero: below every drift that is not."""
    above = [value for value in _drifts(named) if value > 0]
    return 10.0 ** (floor(log10(min(above))) - 1) if above else WHOLE


def _line(
    named: Mapping[str, MergeReport], name: str, by: str, low: float, n: int, colors: Mapping[tuple[str, str], str]
) -> Layout:
    """The drift over the cycles, as far as it is a number."""
    drift = named[name].drift(by)[: named[name].lost_at(by)]
    return {
        "type": "scatter",
        "x": np.arange(len(drift)),
        "y": np.maximum(drift, low),
        "customdata": drift,
        "mode": "lines+markers" if len(drift) <= MOST_MARKED else "lines",
        "name": _label(named, name, by),
        "legendgroup": f"{name} {by}",
        "cliponaxis": False,
        "line": {"color": colors[name, by], "width": 4 if by == OURS else 2, "dash": "solid" if by == OURS else "dot"},
        "marker": {"symbol": SYMBOLS[n % len(SYMBOLS)], "size": 7},
        "hovertemplate": "after %{x} cycles: %{customdata:.3g}<extra>" + _label(named, name, by) + "</extra>",
    }


def _one_legend_for_exact(
    named: Mapping[str, MergeReport], lines: list[Layout], colors: Mapping[tuple[str, str], str]
) -> list[Layout]:
    """Of several reports in which our base never drifts the lines lie upon one another: one entry names them all."""
    ours = [n for n, (_, by) in enumerate(colors) if by == OURS]
    if len(ours) < 2 or any(named[name].drift(by).any() for name, by in colors if by == OURS):
        return lines
    for n in ours:
        lines[n] |= {"name": f"{OURS}, all {len(ours)}", "legendgroup": OURS, "showlegend": n == ours[0]}
        lines[n]["line"] = {**lines[n]["line"], "color": COLORS[OURS]}
    return lines


def _cross(named: Mapping[str, MergeReport], name: str, by: str, n: int) -> Layout:
    lost = named[name].lost_at(by) or 0
    says = f"{f'{plain(name)}: ' if len(named) > 1 else ''}no numbers after {cycles_in_words(lost)}"
    return {
        "type": "scatter",
        "x": [lost],
        "y": [_cross_at(n)],
        "mode": "markers+text",
        "text": [says],
        "textposition": "middle right",
        "textfont": {"size": 11},
        "cliponaxis": False,
        "marker": {"symbol": "x", "size": 10, "color": WRONG},
        "name": says,
        "legendgroup": f"{name} {by}",
        "showlegend": False,
        "hovertemplate": f"{_label(named, name, by)}: {says}<extra></extra>",
    }


def _bars(named: Mapping[str, MergeReport], name: str, by: str, colors: Mapping[tuple[str, str], str]) -> Layout:
    errors = [named[name].error(by, state) for state in ("unmerged", "merged")]
    return {
        "type": "bar",
        "x": ["unmerged", "merged"],
        "y": [error if isfinite(error) else 0.0 for error in errors],
        "text": [f"{error:.2g}" if isfinite(error) else "none" for error in errors] if len(named) == 1 else None,
        "textposition": "outside",
        "textfont": {"size": 10},
        "cliponaxis": False,
        "xaxis": "x2",
        "yaxis": "y2",
        "legendgroup": f"{name} {by}",
        "showlegend": False,
        "marker": {"color": colors[name, by], "pattern": {"shape": "" if by == OURS else "/"}},
        "hovertemplate": "%{x}: %{y:.3g}<extra>" + _label(named, name, by) + "</extra>",
    }


def _title(named: Mapping[str, MergeReport]) -> str:
    name, report = max(named.items(), key=lambda pair: _worst(pair[1]))
    by = max(report.libraries, key=lambda by: last_drift(report, by))
    where = f" ({plain(name)})" if len(named) > 1 else f" in {report.dtype}"
    whole = listed([other for other in libraries_of(named) if not any(r.changed(other) for r in _with(named, other))])
    kept = "" if whole == "nothing" else f"; {whole} gives every bit back"
    if not _worst(report):
        return f"After {cycles_in_words(report.cycles)}{where if len(named) == 1 else ''} every bit is back"
    off = last_drift(report, by)
    finding = off_in_words(report, by) if isfinite(off) else "holds no numbers any more"
    return f"After {cycles_in_words(report.cycles)}{where} the base of {by} {finding}{kept}"


def _with(named: Mapping[str, MergeReport], by: str) -> list[MergeReport]:
    return [report for report in named.values() if by in report.libraries]


def _worst(report: MergeReport) -> float:
    return max(last_drift(report, by) for by in report.libraries)
