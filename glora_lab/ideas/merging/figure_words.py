"""What merging leaves, in words: the sentences below its figure, and those that its title is made of."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import TypeAlias

from glora_lab.drawing.theme import listed

from .record import MergeReport

Reports: TypeAlias = MergeReport | Mapping[str, MergeReport]


def describe_merge_report(reports: Reports) -> str:
    """The figure in words."""
    named = named_reports(reports)
    if len(named) == 1:
        return _says(*named.values())
    methods = listed(dict.fromkeys(report.method for report in named.values()))
    each = [f"{_shareoff_in_words(named, by)}; {_errors(named, by)}" for by in libraries_of(named)]
    return f"{methods} merged and unmerged, time and again. {' '.join(f'With {clause}.' for clause in each)}"


def named_reports(reports: Reports) -> dict[str, MergeReport]:
    """Those that have a layer, by name; ValueError where none has."""
    named = {"": reports} if isinstance(reports, MergeReport) else dict(reports)
    if not any(report.rows for report in named.values()):
        raise ValueError(f"`reports` (={list(named)}) must hold at least one layer")
    return {name: report for name, report in named.items() if report.rows}


def libraries_of(named: Mapping[str, MergeReport]) -> list[str]:
    """Every library that has a row in one of them."""
    return list(dict.fromkeys(by for report in named.values() for by in report.libraries))


def last_drift(report: MergeReport, by: str) -> float:
    """Of the layer that is farthest off, after all cycles."""
    return float(report.drift(by)[-1])


def cycles_in_words(count: int) -> str:
    """A count of cycles."""
    return "1 cycle" if count == 1 else f"{count} cycles"


def _says(report: MergeReport) -> str:
    each = []
    for by in report.libraries:
        drift = off_in_words(report, by)
        if report.lost_at(by) is None and report.changed(by):
            drift += f", with {report.changed(by):.0%} of its numbers changed"
        unmerged, merged = (report.error(by, state) for state in ("unmerged", "merged"))
        does = f"the output is off by {unmerged:.2g} of what the adapter does unmerged, by {merged:.2g} merged"
        each.append(f"with {by} the base {drift}, and {does if isfinite(unmerged) else 'the adapter does nothing yet'}")
    missing = f" Left out: {listed(report.left_out)}." if report.left_out else ""
    times = "1 time" if report.cycles == 1 else f"{report.cycles} times"
    head = f"{report.method} merged and unmerged {times} in {report.dtype}"
    return f"{head}: {'; '.join(each)}.{missing}"


def off_in_words(report: MergeReport, by: str) -> str:
    """What a base "is" or "has" in the end."""
    lost, off = report.lost_at(by), last_drift(report, by)
    if lost is not None:
        return f"holds no numbers any more after {cycles_in_words(lost)}"
    if not off:
        return "has every bit back"
    return f"is off by {f'{off:.1%}' if off >= 1e-3 else f'{off:.2g}'} of itself"


def _shareoff_in_words(named: Mapping[str, MergeReport], by: str) -> str:
    """One library's bases in all reports; one clause where all are back."""
    its = {name: report for name, report in named.items() if by in report.libraries}
    if not any(report.changed(by) for report in its.values()):
        return f"{by} every base has every bit back"
    return f"{by} " + listed(f"the base of {name} {off_in_words(report, by)}" for name, report in its.items())


def _errors(named: Mapping[str, MergeReport], by: str) -> str:
    its = {name: report.error(by, "merged") for name, report in named.items() if by in report.libraries}
    errors = listed(f"{error:.2g} ({name})" for name, error in its.items())
    return f"the merged output is off by {errors} of what the adapter does"
