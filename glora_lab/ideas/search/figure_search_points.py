"""A search as plain data for a picture in the page whose points can be chosen: the same colours and words as
`draw_search` draws, worked out here so that the page only has to lay them out.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, log10
from typing import Any

from glora_lab.drawing.theme import FROZEN, LINE, METHOD_COLORS, RIGHT, number

from .figure import finding, in_words
from .record import SearchResult, Trial

ROOM = 0.06  # of the height, above the best and below the worst
STEPS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)  # of accuracy, between two marks
MARKS = 6  # at most
CORNER = 0.04  # of the height, which the marks of the other axis begin below
AXES = {"x": "trained parameters (log scale)", "y": "validation accuracy, as the engine scores it"}
LEGEND = {
    "trials": (FROZEN, "trials"),
    "ranks": (METHOD_COLORS["LoRA"], "one rank everywhere"),
    "front": (RIGHT, "front"),
    "known": (METHOD_COLORS["GLoRA"], "known methods"),
    "chosen": (METHOD_COLORS["GraLoRA"], "shown below"),
    "limit": (LINE, "limit"),
}


def search_points(found: SearchResult, least: int, most: int) -> dict[str, Any]:
    """Places from 0 to 1, words and kinds of the trials in their order, and the marks of the axes; JSON alone.

    Args:
        least, most: the parameters at the left and the right edge.
    """
    trials = found.trials
    low, high = _heights([trial.metric for trial in trials])
    places = {id(trial): place for place, trial in enumerate(trials)}
    order = sorted(range(len(trials)), key=lambda n: (trials[n].params, trials[n].metric, n))
    ranks = [n for n in order if trials[n].name.startswith("rank ")]
    return {
        "finding": finding(found).replace("<b>", "").replace("</b>", ""),
        "says": in_words(found),
        "x": [across(trial.params, least, most) for trial in trials],
        "y": [round((trial.metric - low) / (high - low), 4) for trial in trials],
        "words": [words_of(trial) for trial in trials],
        "order": order,
        "front": [places[id(trial)] for trial in found.front],
        "ranks": ranks,
        "known": [[n, trial.name] for n, trial in enumerate(trials) if trial.name and n not in ranks],
        "marks": {"x": _counts(least, most), "y": _accuracies(low, high)},
        "axes": AXES,
        "colors": {name: color for name, (color, _) in LEGEND.items()},
        "legend": [[name, says] for name, (_, says) in LEGEND.items()],
    }


def words_of(trial: Trial) -> str:
    """A trial in words, as pointing at it tells them."""
    name = f", {trial.name}" if trial.name else ""
    return f"{trial.params:,} parameters, {trial.metric:.1%} of the validation part, trial {trial.number}{name}"


def across(params: int, least: int, most: int) -> float:
    """Where so many parameters lie between the edges, from 0 to 1; what is beyond lies on the edge."""
    if most <= least:
        return 0.5
    return round(min(max(log10(max(params, 1) / least) / log10(most / least), 0.0), 1.0), 4)


def _heights(metrics: Sequence[float]) -> tuple[float, float]:
    """The accuracies at the lower and the upper edge."""
    low, high = min(metrics, default=0.0), max(metrics, default=1.0)
    room = ROOM * (high - low) or 0.01
    return low - room, high + room


def _accuracies(low: float, high: float) -> list[list[Any]]:
    """Places and texts of the marks of the upward axis."""
    step = next((step for step in STEPS if (high - low) / step <= MARKS), STEPS[-1])
    marks = [n * step for n in range(ceil(low / step), floor(high / step) + 1)]
    places = {mark: round((mark - low) / (high - low), 4) for mark in marks}
    return [[at, f"{mark:.{1 if step < 0.01 else 0}%}"] for mark, at in places.items() if at > CORNER]


def _counts(least: int, most: int) -> list[list[Any]]:
    """Places and texts of the marks of the axis across, and whether a narrow picture has each."""
    steps = (1, 2, 5) if most < 150 * least else (1,)
    powers = range(floor(log10(least)), ceil(log10(most)) + 1)
    marks = [(step, step * 10**n) for n in powers for step in steps if least <= step * 10**n <= most]
    return [[across(mark, least, most), number(mark), step == 1] for step, mark in marks]
