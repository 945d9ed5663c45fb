"""What rounding takes of an adapter's work: the output's error while the adapter is beside the weight, and merged."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

from glora_lab.drawing.checked import checked
from glora_lab.drawing.picture import Picture
from glora_lab.drawing.theme import listed
from glora_lab.drawing.traces import Layout, bars

from .figure import Reports, colors_of, label, laid_out, named_reports
from .record import OURS, MergeReport

STATES = ("unmerged", "merged")


@checked
def draw_merge_errors(reports: Reports) -> Picture:
    """The error of the layers' output, unmerged and merged, relative to what the adapter does.

    In words: both errors of each library.

    Args:
        reports: one, or several by name: precisions, or adapters that differ.

    Raises:
        ValueError: where there is none.
    """
    named = named_reports(reports)
    return laid_out(
        [_bars(named, *pair, color) for pair, color in colors_of(named).items()],
        _finding(named),
        "of what the adapter does, on 64 random inputs",
        _in_words(named),
        yaxis={"rangemode": "tozero", "title": "output error ÷ adapter's effect"},
        barmode="group",
        showlegend=True,
    )


def _finding(named: Mapping[str, MergeReport]) -> str:
    """Ours, merged; the worst of several."""
    known = {by: _known(named, by, "merged") for by in dict.fromkeys(by for r in named.values() for by in r.libraries)}
    worst = {by: max(errors.values()) for by, errors in known.items() if errors}
    if not worst:
        return "The adapter does nothing yet"
    return f"Merged, the output is off by {listed(f'{error:.2g} ({by})' for by, error in worst.items())}"


def _known(named: Mapping[str, MergeReport], by: str, state: str) -> dict[str, float]:
    errors = {name: report.error(by, state) for name, report in named.items() if by in report.libraries}
    return {name: error for name, error in errors.items() if isfinite(error)}


def _bars(named: Mapping[str, MergeReport], name: str, by: str, color: str) -> Layout:
    errors = [named[name].error(by, state) for state in STATES]
    heights = [error if isfinite(error) else 0.0 for error in errors]
    text = [f"{error:.2g}" if isfinite(error) else "none" for error in errors] if len(named) == 1 else None
    look: Layout = {"marker": {"pattern": {"shape": "" if by == OURS else "/"}}, "name": label(named, name, by)}
    return bars(list(STATES), heights, color, f"%{{x}}: %{{y:.3g}}<extra>{look['name']}</extra>", text=text, **look)


def _in_words(named: Mapping[str, MergeReport]) -> str:
    says = []
    for name, report in named.items():
        of = f" ({name})" if len(named) > 1 else ""
        for by in report.libraries:
            unmerged, merged = (report.error(by, state) for state in STATES)
            if isfinite(unmerged):
                says.append(f"with {by}{of} by {unmerged:.2g} unmerged and {merged:.2g} merged")
    if not says:
        return "The adapter does nothing yet."
    return f"The output is off, of what the adapter does, {'; '.join(says)}."
