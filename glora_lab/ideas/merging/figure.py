"""What merging leaves of the base: its drift over cycles of merging and unmerging.

The axis is logarithmic and its lowest tick is zero: a line that lies there has every bit of the base. A cross marks the
cycle after which a weight is no number any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, floor, log10
from typing import Any, TypeAlias

import numpy as np

from glora_lab.drawing.picture import Picture, draw, draws
from glora_lab.drawing.theme import FROZEN, METHOD_COLORS, RUN_COLORS, WRONG, by_name, ending, listed, plain, small
from glora_lab.drawing.traces import Layout, line, marked

from .record import OURS, STOCK, MergeReport

COLORS = dict.fromkeys((OURS, STOCK), METHOD_COLORS["GLoRA"])  # one method: stock PEFT's is dotted or hatched
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "star", "pentagon")
WHOLE = 1e-9  # where zero is drawn when nothing drifts; else one power of ten below what does
MOST_MARKED = 12  # cycles
WHOSE = {OURS: "Our", STOCK: "Stock PEFT's"}  # base, in a title
Reports: TypeAlias = MergeReport | Mapping[str, MergeReport]


@draws(MergeReport)
def draw_merge_report(reports: Reports) -> Picture:
    """The drift of the layer that is farthest off, over the cycles.

    In words: of each library whether the base has every bit back, how far it is off, how many of its numbers changed,
    and whether and when values were lost.

    Args:
        reports: one, or several by name: precisions, or adapters that differ.

    Raises:
        ValueError: where there is none.
    """
    named = named_reports(reports)
    low = _floor(named)
    colors = colors_of(named)
    lines = [_line(named, name, by, low, n, colors) for n, (name, by) in enumerate(colors)]
    lost = [(name, by) for name, by in colors if named[name].lost_at(by) is not None]
    crosses = [_cross(named, name, by, n) for n, (name, by) in enumerate(lost)]
    return laid_out(
        [*_one_legend_for_exact(named, lines, colors), *crosses],
        _finding(named),
        _where(named),
        _in_words(named),
        xaxis={"title": "cycles of merging and unmerging", "rangemode": "tozero"},
        yaxis=_drift_axis(named, low, len(lost)),
    )


def laid_out(traces: list[Layout], finding: str, where: str, words: str, **axes: Any) -> Picture:
    """A picture of merge reports: the finding over where it was found, then the legend, then the plot."""
    title, room = f"{finding}<br>{small(where, 12)}", {"t": 108, "b": 52}
    return draw(traces, title, words, height=400, margin=room, legend={"y": 1.02}, **axes)


def colors_of(named: Mapping[str, MergeReport]) -> dict[tuple[str, str], str]:
    """(name, library) → colour: by library where there is one report, else by name."""
    pairs = [(name, by) for name, report in named.items() for by in report.libraries]
    if len(named) == 1:
        return {pair: COLORS.get(pair[1], FROZEN) for pair in pairs}
    own = {name: RUN_COLORS[n % len(RUN_COLORS)] for n, name in enumerate(named)}
    return {pair: own[pair[0]] for pair in pairs}


def label(named: Mapping[str, MergeReport], name: str, by: str) -> str:
    """What a line or bar is called."""
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
    hover = f"{cycles}<extra>{label(named, name, by)}</extra>"
    drawn = line(np.arange(len(drift)), np.maximum(drift, low), "", colors[name, by], hover, **own)
    look = {"marker": {"symbol": SYMBOLS[n % len(SYMBOLS)], "size": 7}, "cliponaxis": False, "customdata": drift}
    return drawn | look | marked(drift, MOST_MARKED) | _grouped(named, name, by)


def _grouped(named: Mapping[str, MergeReport], name: str, by: str) -> Layout:
    """What goes on and off together at a click on the legend."""
    return {"name": label(named, name, by), "legendgroup": f"{name} {by}"}


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
        "hovertemplate": f"{label(named, name, by)}: {says}<extra></extra>",
        **text,
        **_grouped(named, name, by),
        "name": says,
        "showlegend": False,
    }


def _finding(named: Mapping[str, MergeReport]) -> str:
    """The base that is farthest off, and whose is back; in a line of a narrow page."""
    name, report = max(named.items(), key=lambda pair: _worst(pair[1]))
    if not _worst(report):
        return f"After {_cycles(report.cycles)} every bit of the base is back"
    by = max(report.libraries, key=lambda by: _last_drift(report, by))
    lost, off = report.lost_at(by), _last_drift(report, by)
    share = f"{off:.1%}" if off >= 1e-3 else f"{off:.2g}"
    is_off = f"is lost after {_cycles(lost)}" if lost is not None else f"is off by {share}"
    which = f" at {ending(plain(name), 16)}" if len(named) > 1 else ""
    whole = [other for other in _libraries(named) if not any(r.changed(other) for r in _with(named, other))]
    back = "" if not whole else "; ours is back, every bit" if OURS in whole else f"; {whole[0]}'s is back, every bit"
    return f"{WHOSE[by]} base {is_off}{which}{back}"


def _where(named: Mapping[str, MergeReport]) -> str:
    report, *others = named.values()
    times = f"after {_cycles(report.cycles)}"
    if others:
        return f"{report.method}, {times}"
    return f"{ending(plain(report.rows[0].layer), 34)} in {report.dtype}, {times}"


def _with(named: Mapping[str, MergeReport], by: str) -> list[MergeReport]:
    return [report for report in named.values() if by in report.libraries]


def _worst(report: MergeReport) -> float:
    return max(_last_drift(report, by) for by in report.libraries)


def _in_words(named: Mapping[str, MergeReport]) -> str:
    if len(named) == 1:
        return _says(*named.values())
    methods = listed(dict.fromkeys(report.method for report in named.values()))
    each = [_bases(named, by) for by in _libraries(named)]
    return f"{methods} merged and unmerged, time and again. {' '.join(f'With {clause}.' for clause in each)}"


def named_reports(reports: Reports) -> dict[str, MergeReport]:
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
        each.append(f"with {by} the base {drift}")
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
