"""Training as it went: loss and accuracy over steps for one run or many, and accuracy against parameters.

Nothing is smoothed and nothing averaged. The loss is every batch's; the accuracy is drawn where it was
measured and not where it was carried; runs that share a name (seeds) all stand in the picture, joined by a
line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log10
from typing import Any

import plotly.graph_objects as go

from glora_lab.figures.theme import draw, listed, plain, run_colors
from glora_lab.records import Run, Step

Steps = Sequence[Step]

# Names of runs that end close together, in decades of parameters and in accuracy, stand on different sides.
NEAR = (0.35, 0.08)
SIDES = ("top center", "bottom center", "middle right", "middle left")


def plot_training(steps: Steps | Mapping[str, Steps], *, total: int | None = None) -> go.Figure:
    """Loss (left) and validation accuracy (right) over steps, one colour per run.

    Args:
        steps: one run's steps, or name → steps.
        total: steps that the run will have, so that the axis does not move while it trains.
    """
    runs = _named(steps)
    colors = run_colors(runs)
    traces = [trace for name, line in runs.items() for trace in _curves(name, line, colors[name], len(runs) > 1)]
    longest = max([total or 0, *(line[-1].index for line in runs.values() if line)])
    across = {"title": {"text": "step"}, "range": (0, longest * 1.02 or 1)}
    return draw(
        traces,
        _title(runs),
        height=320,
        margin={"t": 76 if len(runs) > 1 else 52},
        xaxis={"domain": (0, 0.46), "anchor": "y", **across},
        yaxis={"anchor": "x", "title": {"text": "loss of the batch"}, "rangemode": "tozero"},
        xaxis2={"domain": (0.56, 1), "anchor": "y2", **across},
        yaxis2={
            "anchor": "x2",
            "title": {"text": "validation accuracy"},
            "range": (0, 1.03),
            "tickformat": ".0%",
        },
    )


def describe_training(steps: Steps | Mapping[str, Steps]) -> str:
    """The figure in words: where each run began and where it is."""
    return " ".join(_describe(name, line) for name, line in _named(steps).items())


def plot_runs(runs: Sequence[Run]) -> go.Figure:
    """Test accuracy against trained parameters (log scale), labelled; runs of one name are joined."""
    names = list(dict.fromkeys(run.name for run in runs))
    colors = run_colors(names)
    place = _places([run.params for run in runs])
    traces = []
    labels: list[tuple[float, float]] = []
    for name in names:
        points = sorted((run for run in runs if run.name == name), key=lambda run: run.metric)
        label = log10(place[points[-1].params]), points[-1].metric
        neighbours = sum(abs(label[0] - x) < NEAR[0] and abs(label[1] - y) < NEAR[1] for x, y in labels)
        labels.append(label)
        traces.append(_points(name, points, place, colors[name], SIDES[neighbours % len(SIDES)]))
    accuracy = {
        "title": {"text": "test accuracy"},
        "tickformat": ".0%",
        **({} if runs else {"range": (0, 1)}),
    }
    parameters = {"type": "log", "title": {"text": "trained parameters (log scale)"}, **_ticks(place)}
    margin = {"t": 60, "r": 130}  # a name may stand to the right of the last point
    return draw(traces, _runs_title(runs), height=380, margin=margin, xaxis=parameters, yaxis=accuracy)


def describe_runs(runs: Sequence[Run]) -> str:
    """The figure in words, the best run first."""
    ranked = sorted(runs, key=lambda run: run.metric, reverse=True)
    words = (f"{run.name} {run.metric:.1%} with {run.params:,} parameters" for run in ranked)
    return f"Test accuracy: {'; '.join(words)}." if runs else "No run has finished yet."


def _curves(name: str, line: Steps, color: str, named: bool) -> list[dict[str, Any]]:
    measured = [step for step in line if step.measured]
    common = {
        "type": "scatter",
        "name": plain(name),
        "legendgroup": name,
        "line": {"color": color, "width": 2},
    }
    loss = {
        "x": [step.index for step in line],
        "y": [step.loss for step in line],
        "mode": "lines" if len(line) > 1 else "markers",
        "showlegend": named,
        "hovertemplate": "step %{x}: loss %{y:.3f}",
    }
    accuracy = {
        "x": [step.index for step in measured],
        "y": [step.metric for step in measured],
        "mode": "lines+markers",
        "marker": {"size": 5},
        "showlegend": False,
        "hovertemplate": "step %{x}: accuracy %{y:.1%}",
        "xaxis": "x2",
        "yaxis": "y2",
    }
    return [{**common, **loss}, {**common, **accuracy}]


def _points(name: str, points: Sequence[Run], place: Mapping[int, float], color: str, position: str) -> dict[str, Any]:
    """The runs of one name, the most accurate last: it carries the label, so that a line of seeds has one."""
    return {
        "type": "scatter",
        "x": [place[run.params] for run in points],
        "y": [run.metric for run in points],
        "mode": "lines+markers+text" if len(points) > 1 else "markers+text",
        "name": plain(name),
        "text": [""] * (len(points) - 1) + [plain(name)],
        "textposition": position,
        "textfont": {"color": color, "size": 12},
        "marker": {"color": color, "size": 10 if len(points) == 1 else 7},
        "line": {"color": color, "width": 2},
        "customdata": [[run.params, run.seconds] for run in points],
        "hovertemplate": "%{customdata[0]:,} parameters, accuracy %{y:.1%}, %{customdata[1]:.1f} s",
        "showlegend": False,
        "cliponaxis": False,
    }


def _named(steps: Steps | Mapping[str, Steps]) -> dict[str, Steps]:
    return dict(steps) if isinstance(steps, Mapping) else {"this run": steps}


def _title(runs: Mapping[str, Steps]) -> str:
    started = {name: line for name, line in runs.items() if line}
    if not started:
        return "No step yet"
    if len(started) == 1:
        ((_, line),) = started.items()
        return (
            f"After {_steps(line[-1].index)} the loss is {line[-1].loss:.2f}, "
            f"<b>{line[-1].metric:.0%}</b> of the validation part is right"
        )
    best = max(line[-1].metric for line in started.values())
    leaders = [f"<b>{plain(name)}</b>" for name, line in started.items() if f"{line[-1].metric:.0%}" == f"{best:.0%}"]
    return f"{listed(leaders)} {'leads' if len(leaders) == 1 else 'lead'} with {best:.0%} of the validation part"


def _describe(name: str, line: Steps) -> str:
    if not line:
        return f"{name}: no step yet."
    first, last = line[0], line[-1]
    return (
        f"{name}: after {_steps(last.index)} ({last.seconds:.1f} s) the loss went from {first.loss:.2f} to "
        f"{last.loss:.2f}, the validation accuracy from {first.metric:.0%} to {last.metric:.0%}."
    )


def _steps(count: int) -> str:
    return f"{count} step" if count == 1 else f"{count:,} steps"


def _runs_title(runs: Sequence[Run]) -> str:
    if not runs:
        return "No run has finished yet"
    best = max(runs, key=lambda run: run.metric)
    return f"<b>{plain(best.name)}</b> is the most accurate: {best.metric:.1%} with {best.params:,} parameters"


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
