"""A search over accuracy and parameters: every trial, the front that grows, the ranks of LoRA, the limit."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10
from typing import Any

from glora_lab.arguments import check_kind
from glora_lab.drawing.picture import Picture, draw, draws
from glora_lab.drawing.theme import FROZEN, LINE, METHOD_COLORS, RIGHT, number, plain
from glora_lab.drawing.traces import Layout, line

from .record import SearchResult, Trial

HOVER = "%{customdata[0]:,} parameters, %{y:.1%} of the validation part, trial %{customdata[1]}%{customdata[2]}"


@draws(SearchResult)
def draw_search(found: SearchResult | Any, chosen: int | None = None) -> Picture:
    """Accuracy on the validation part over parameters (log scale); the front joined, known methods named.

    In words: the front, what scored it and whether that can be believed, and the finalists that were trained anew.

    Args:
        found: a search as it stands, or a study, which has one as its `result`.
        chosen: the number of a trial to mark.
    """
    found = getattr(found, "result", found)
    check_kind("found", found, SearchResult, "must be a SearchResult, or a study, which has one as its `result`")
    anchors = [trial for trial in found.trials if trial.name.startswith("rank ")]
    others = [trial for trial in found.trials if not trial.name]
    known = [trial for trial in found.trials if trial.name and trial not in anchors]
    marked = [trial for trial in found.trials if trial.number == chosen]
    traces = [
        _points(others, "trials", FROZEN, size=6, opacity=0.7),
        _line(sorted(anchors, key=lambda trial: trial.params), "one rank everywhere", METHOD_COLORS["LoRA"], "dot"),
        _line(list(found.front), "front", RIGHT, ""),
        {**_points(known, "known methods", METHOD_COLORS["GLoRA"], size=9), **_named(known)},
        _points(marked, "chosen", METHOD_COLORS["GraLoRA"], size=15, symbol="circle-open"),
    ]
    limit = [] if found.limit is None else [_limit(found.limit)]
    return draw(
        [trace for trace in traces if trace["x"]],
        finding(found),
        in_words(found),
        height=400,
        margin={"t": 72, "r": 24},
        shapes=limit,
        xaxis={"type": "log", "title": "trained parameters (log scale)", **_decades(found)},
        yaxis={"title": "validation accuracy, as the engine scores it", "tickformat": ".0%"},
    )


def _points(trials: Sequence[Trial], name: str, color: str, *, size: int, **marker: Any) -> Layout:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [trial.params for trial in trials],
        "y": [trial.metric for trial in trials],
        "customdata": [[trial.params, trial.number, f", {plain(trial.name)}" * bool(trial.name)] for trial in trials],
        "hovertemplate": HOVER + "<extra></extra>",
        "name": name,
        "marker": {"color": color, "size": size, **marker},
    }


def _line(trials: Sequence[Trial], name: str, color: str, dash: str) -> Layout:
    points = _points(trials, name, color, size=8)
    return {
        **points,
        **line(points["x"], points["y"], name, color, points["hovertemplate"], dash=dash),
        "mode": "lines+markers",
        "marker": points["marker"],
    }


def _named(trials: Sequence[Trial]) -> Layout:
    return {"mode": "markers+text", "text": [plain(trial.name) for trial in trials], "textposition": "bottom center"}


def _limit(limit: int) -> Layout:
    look = {"line": {"color": LINE, "dash": "dash", "width": 2}}
    words = {"text": f"limit {number(limit)}", "textposition": "top right"}
    return {"type": "line", "x0": limit, "x1": limit, "y0": 0, "y1": 1, "yref": "paper", "label": words, **look}


def _decades(found: SearchResult) -> Layout:
    counts = [trial.params for trial in found.trials] + ([] if found.limit is None else [found.limit])
    if not counts:
        return {"showticklabels": False}
    low, high = log10(min(counts)), log10(max(counts))
    marks = [step * 10**n for n in range(int(low), int(high) + 1) for step in (1, 2, 5)]
    return {"tickvals": marks, "ticktext": [number(mark) for mark in marks], "range": (low - 0.1, high + 0.15)}


def finding(found: SearchResult) -> str:
    if not found.trials:
        return "No trial yet"
    best = found.front[-1]
    count = len(found.trials)
    return f"{count:,} trial{'s' * (count > 1)}, <b>{len(found.front)}</b> on the front, up to {best.metric:.1%}"


def in_words(found: SearchResult) -> str:
    if not found.trials:
        return "The search has no trial yet."
    ends = "; ".join(f"{trial.params:,} parameters {trial.metric:.1%}" for trial in found.front)
    gate = f" The gate: {found.agreement.in_words}." if found.agreement else ""
    anew = "".join(f" Trial {one.number} trained anew is {one.in_words}." for one in found.verified)
    engine = found.trials[-1].engine
    believed = "" if engine in ("short", "trained") else " These are scores of shared weights and no results."
    return f"The front of {len(found.trials):,} trials scored by engine {engine}: {ends}.{believed}{gate}{anew}"
