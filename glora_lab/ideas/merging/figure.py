"""What merging leaves: the drift of the base over cycles of merging and unmerging, and the error of the output.

The drift's axis is logarithmic and its lowest tick is zero: a line that lies there has every bit of the base. A cross
marks the cycle after which a weight is no number any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, floor, isfinite, log10
from typing import TypeAlias

import numpy as np

from glora_lab.drawing.picture import Picture, draw, draws
from glora_lab.drawing.theme import FROZEN, METHOD_COLORS, RUN_COLORS, WRONG, by_name, listed, plain
from glora_lab.drawing.traces import Layout, bars, line, marked, on

from .record import OURS, STOCK, MergeReport

COLORS = {OURS: METHOD_COLORS["GLoRA"], STOCK: METHOD_COLORS["full fine-tuning"]}
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "star", "pentagon")
WHOLE = 1e-9  # where zero is drawn when nothing drifts; else one power of ten below what does
MOST_MARKED = 12  # cycles
LEFT, RIGHT_SIDE = (0.0, 0.6), (0.72, 1.0)
Reports: TypeAlias = MergeReport | Mapping[str, MergeReport]


@draws(MergeReport)
def draw_merge_report(reports: Reports) -> Picture:
    """Left the drift of the layer that is farthest off, right the output's error unmerged and merged.

    Args:
        reports: one, or several by name: precisions, or adapters that differ.

    Raises:
        ValueError: where there is none.
    """
    named = _named(reports)
    low = _floor(named)
    colors = _colors(named)
    lines = [_line(named, name, by, low, n, colors) for n, (name, by) in enumerate(colors)]
    lost = [(name, by) for name, by in colors if named[name].lost_at(by) is not None]
    crosses = [_cross(named, name, by, n) for n, (name, by) in enumerate(lost)]
    return draw(
        [*_one_legend_for_exact(named, lines, colors), *crosses, *(_bars(named, *pair, colors) for pair in colors)],
        _title(named),
        _in_words(named),
        height=400,
        margin={"t": 104 if len(named) > 1 else 80, "b": 56},
        legend={"y": 1.02},
        xaxis={"domain": LEFT, "title": "cycles of merging and unmerging", "rangemode": "tozero"},
        yaxis=_drift_axis(named, low, len(lost)),
        xaxis2={"domain": RIGHT_SIDE, "anchor": "y2", "showgrid": False},
        yaxis2={"anchor": "x2", "rangemode": "tozero", "title": "output error ÷ adapter's effect"},
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
        "title": "drift of weight and bias",
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
    drift, cycles = named[name].drift(by)[: named[name].lost_at(by)], "after %{x} cycles: %{customdata:.3g}"
    own: Layout = {"dash": "solid", "width": 4} if by == OURS else {"dash": "dot", "width": 2}
    hover = f"{cycles}<extra>{_label(named, name, by)}</extra>"
    drawn = line(np.arange(len(drift)), np.maximum(drift, low), "", colors[name, by], hover, **own)
    look = {"marker": {"symbol": SYMBOLS[n % len(SYMBOLS)], "size": 7}, "cliponaxis": False, "customdata": drift}
    return drawn | look | marked(drift, MOST_MARKED) | _grouped(named, name, by)


def _grouped(named: Mapping[str, MergeReport], name: str, by: str) -> Layout:
    """What goes on and off together at a click on the legend."""
    return {"name": _label(named, name, by), "legendgroup": f"{name} {by}"}


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
    says = f"{f'{plain(name)}: ' if len(named) > 1 else ''}no numbers after {_cycles(lost)}"
    text = {"text": [says], "textposition": "middle right", "textfont": {"size": 11}, "cliponaxis": False}
    return {
        "type": "scatter",
        "x": [lost],
        "y": [_cross_at(n)],
        "mode": "markers+text",
        "marker": {"symbol": "x", "size": 10, "color": WRONG},
        "hovertemplate": f"{_label(named, name, by)}: {says}<extra></extra>",
        **text,
        **_grouped(named, name, by),
        "name": says,
        "showlegend": False,
    }


def _bars(named: Mapping[str, MergeReport], name: str, by: str, colors: Mapping[tuple[str, str], str]) -> Layout:
    states, report = ["unmerged", "merged"], named[name]
    errors = [report.error(by, state) for state in states]
    heights = [error if isfinite(error) else 0.0 for error in errors]
    text = [f"{error:.2g}" if isfinite(error) else "none" for error in errors] if len(named) == 1 else None
    look = {"textfont": {"size": 10}, "legendgroup": f"{name} {by}", "showlegend": False, **on(2)}
    pattern = {"pattern": {"shape": "" if by == OURS else "/"}}
    hover = f"%{{x}}: %{{y:.3g}}<extra>{_label(named, name, by)}</extra>"
    return bars(states, heights, colors[name, by], hover, marker=pattern, text=text, **look)


def _title(named: Mapping[str, MergeReport]) -> str:
    name, report = max(named.items(), key=lambda pair: _worst(pair[1]))
    by = max(report.libraries, key=lambda by: _last_drift(report, by))
    where = f" ({plain(name)})" if len(named) > 1 else f" in {report.dtype}"
    whole = listed([other for other in _libraries(named) if not any(r.changed(other) for r in _with(named, other))])
    kept = "" if whole == "nothing" else f"; {whole} gives every bit back"
    if not _worst(report):
        return f"After {_cycles(report.cycles)}{where if len(named) == 1 else ''} every bit is back"
    off = _last_drift(report, by)
    finding = _off(report, by) if isfinite(off) else "holds no numbers any more"
    return f"After {_cycles(report.cycles)}{where} the base of {by} {finding}{kept}"


def _with(named: Mapping[str, MergeReport], by: str) -> list[MergeReport]:
    return [report for report in named.values() if by in report.libraries]


def _worst(report: MergeReport) -> float:
    return max(_last_drift(report, by) for by in report.libraries)


def _in_words(named: Mapping[str, MergeReport]) -> str:
    if len(named) == 1:
        return _says(*named.values())
    methods = listed(dict.fromkeys(report.method for report in named.values()))
    each = [f"{_bases(named, by)}; {_errors(named, by)}" for by in _libraries(named)]
    return f"{methods} merged and unmerged, time and again. {' '.join(f'With {clause}.' for clause in each)}"


def _named(reports: Reports) -> dict[str, MergeReport]:
    """Those that have a layer, by name; ValueError where none has."""
    named = by_name(reports, MergeReport)
    if not any(report.rows for report in named.values()):
        raise ValueError(f"`reports` (={list(named)}) must hold at least one layer")
    return {name: report for name, report in named.items() if report.rows}


def _libraries(named: Mapping[str, MergeReport]) -> list[str]:
    """Every library that has a row in one of them."""
    return list(dict.fromkeys(by for report in named.values() for by in report.libraries))


def _last_drift(report: MergeReport, by: str) -> float:
    """Of the layer that is farthest off, after all cycles."""
    return float(report.drift(by)[-1])


def _cycles(count: int) -> str:
    """A count of cycles."""
    return "1 cycle" if count == 1 else f"{count} cycles"


def _says(report: MergeReport) -> str:
    each = []
    for by in report.libraries:
        drift = _off(report, by)
        if report.lost_at(by) is None and report.changed(by):
            drift += f", with {report.changed(by):.0%} of its numbers changed"
        unmerged, merged = (report.error(by, state) for state in ("unmerged", "merged"))
        does = f"the output is off by {unmerged:.2g} of what the adapter does unmerged, by {merged:.2g} merged"
        each.append(f"with {by} the base {drift}, and {does if isfinite(unmerged) else 'the adapter does nothing yet'}")
    missing = f" Left out: {listed(report.left_out)}." if report.left_out else ""
    times = "1 time" if report.cycles == 1 else f"{report.cycles} times"
    head = f"{report.method} merged and unmerged {times} in {report.dtype}"
    return f"{head}: {'; '.join(each)}.{missing}"


def _off(report: MergeReport, by: str) -> str:
    """What a base "is" or "has" in the end."""
    lost, off = report.lost_at(by), _last_drift(report, by)
    if lost is not None:
        return f"holds no numbers any more after {_cycles(lost)}"
    if not off:
        return "has every bit back"
    return f"is off by {f'{off:.1%}' if off >= 1e-3 else f'{off:.2g}'} of itself"


def _bases(named: Mapping[str, MergeReport], by: str) -> str:
    """One library's bases in all reports; one clause where all are back."""
    its = {name: report for name, report in named.items() if by in report.libraries}
    if not any(report.changed(by) for report in its.values()):
        return f"{by} every base has every bit back"
    return f"{by} " + listed(f"the base of {name} {_off(report, by)}" for name, report in its.items())


def _errors(named: Mapping[str, MergeReport], by: str) -> str:
    its = {name: report.error(by, "merged") for name, report in named.items() if by in report.libraries}
    errors = listed(f"{error:.2g} ({name})" for name, error in its.items())
    return f"the merged output is off by {errors} of what the adapter does"
