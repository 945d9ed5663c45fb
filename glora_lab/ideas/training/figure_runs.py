"""Finished runs: accuracy against parameters.

Nothing is averaged: runs that share a name (seeds) all stand in the picture, joined by a line. The picture shows the
test part; who leads is asked of the validation part, as everywhere (`Ranking`), and of the best run of each name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log10
from typing import Any

from glora_lab.drawing.label_places import Place, label_places
from glora_lab.drawing.picture import Picture, draw, draws
from glora_lab.drawing.run_colors import kind_color
from glora_lab.drawing.theme import plain

from .figure_ranking import headline
from .record import Run
from .record_ranking import Ranking


@draws(Run)
def draw_runs(runs: Sequence[Run]) -> Picture:
    """Test accuracy against trained parameters (log scale), each name in the colour of its path or method.

    In words: of each name accuracy and parameters, the best first, and who leads or ties.

    Args:
        runs: finished runs; those of one name are joined.
    """
    place = _places([run.params for run in runs])
    named = _by_name(runs)
    parameters = {"type": "log", "title": "trained parameters (log scale)", **_ticks(place)}
    labels = label_places(list(named), _in_plot(named, place, parameters.get("range", (0, 1))))
    traces = [_points(name, points, place, label) for (name, points), label in zip(named.items(), labels, strict=True)]
    accuracy = {"title": "test accuracy", "tickformat": ".0%", **({} if runs else {"range": (0, 1)})}
    margin = {"t": 60, "r": 130}  # a name may stand to the right of the last point
    return draw(traces, _title(runs), _in_words(runs), height=380, margin=margin, xaxis=parameters, yaxis=accuracy)


def _in_words(runs: Sequence[Run]) -> str:
    """The name that leads comes first; of several runs of one name, from the worst to the best."""
    named, ranking = _by_name(runs), _ranking(runs)
    ranked = sorted(named, key=lambda name: -ranking.scores.get(name, -1.0))
    words = (f"{name} {_range(named[name])} with {named[name][-1].params:,} parameters" for name in ranked)
    return f"Test accuracy: {'; '.join(words)}. {ranking.words}".rstrip() if runs else "No run has finished yet."


def _ranking(runs: Sequence[Run]) -> Ranking:
    """By the validation part, as far as it is known."""
    known = [run for run in runs if run.scored is not None]
    scores = {name: max(run.scored or 0.0 for run in known if run.name == name) for name in _by_name(known)}
    return Ranking(scores, min((run.examples for run in known), default=0))


def _by_name(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Each name's runs, the most accurate last."""
    names = dict.fromkeys(run.name for run in runs)
    return {name: sorted((run for run in runs if run.name == name), key=lambda run: run.metric) for name in names}


def _range(points: Sequence[Run]) -> str:
    low, high = f"{points[0].metric:.1%}", f"{points[-1].metric:.1%}"
    return low if low == high else f"{low} to {high}"


def _in_plot(
    named: Mapping[str, Sequence[Run]], place: Mapping[int, float], across: tuple[float, float]
) -> list[list[tuple[float, float]]]:
    """Each name's points from 0 to 1 in both directions."""
    metrics = [run.metric for points in named.values() for run in points]
    low = min(metrics, default=0.0)
    height = max(metrics, default=1.0) - low or 1.0  # equal ones all lie at the bottom
    return [
        [
            ((log10(place[run.params]) - across[0]) / (across[1] - across[0]), (run.metric - low) / height)
            for run in points
        ]
        for points in named.values()
    ]


def _points(name: str, points: Sequence[Run], place: Mapping[int, float], label: Place) -> dict[str, Any]:
    """The runs of one name; one of them carries it, so that a line of seeds is labelled once."""
    color = kind_color(name)
    return {
        "type": "scatter",
        "x": [place[run.params] for run in points],
        "y": [run.metric for run in points],
        "mode": "lines+markers+text" if len(points) > 1 else "markers+text",
        "name": plain(name),
        "text": [plain(name) if n == label[1] else "" for n in range(len(points))],
        "textposition": label[0],
        "textfont": {"color": color, "size": 12},
        "marker": {"color": color, "size": 10 if len(points) == 1 else 7},
        "line": {"color": color, "width": 2},
        "customdata": [[run.params, run.seconds] for run in points],
        "hovertemplate": "%{customdata[0]:,} parameters, accuracy %{y:.1%}, %{customdata[1]:.1f} s",
        "showlegend": False,
        "cliponaxis": False,
    }


def _title(runs: Sequence[Run]) -> str:
    if not runs:
        return "No run has finished yet"
    named, ranking = _by_name(runs), _ranking(runs)
    if len(ranking.scores) > 1:
        return headline(ranking)
    who = f"<b>{plain(runs[0].name)}</b>" if len(named) == 1 else f"{len(runs)} runs"
    return f"{who}: {_range(sorted(runs, key=lambda run: run.metric))} of the test part is right"


def _places(counts: Sequence[int]) -> dict[int, float]:
    """Count → where it stands on the log axis; 0, which has no logarithm, a decade before the smallest."""
    smallest = min((count for count in counts if count), default=10)
    return {count: count or smallest / 10 for count in counts}


def _ticks(place: Mapping[int, float]) -> dict[str, Any]:
    """Decades as 1,000 and 1 M, and a tick that says 0 where a run trained nothing."""
    if not place:
        return {"showticklabels": False}
    low, high = (log10(end(place.values())) for end in (min, max))
    marks = {10**n: f"{10**n:,}" for n in range(int(low) - 1, int(high) + 2)}
    if 0 in place:
        marks = {at: text for at, text in marks.items() if at > place[0] * 2} | {place[0]: "0"}
    return {"tickvals": list(marks), "ticktext": list(marks.values()), "range": (low - 0.3, high + 0.3)}
