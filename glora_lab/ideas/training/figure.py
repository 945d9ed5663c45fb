"""Training as it went: loss and accuracy over steps for one run or many.

Nothing is smoothed and nothing averaged. The loss is every batch's; the accuracy is drawn where it was
measured and not where it was carried.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from glora_lab.arguments import check_count
from glora_lab.drawing.picture import Picture, draw, draws
from glora_lab.drawing.run_colors import is_own, run_colors
from glora_lab.drawing.traces import Layout, line, on, side_by_side

from .figure_ranking import headline
from .record import Step
from .record_ranking import Ranking

Steps = Sequence[Step]


@draws(Step)
def draw_training(
    steps: Steps | Mapping[str, Steps], *, total: int | None = None, about: str = "", examples: int = 0
) -> Picture:
    """Loss (left) and validation accuracy (right) over steps, one colour per run.

    In words: of each run its steps and seconds, the loss and the validation accuracy at first and now.

    Args:
        steps: one run's steps, or name → steps.
        total: steps that the run will have, so that the axis does not move while it trains.
        about: what the title ends with, where several runs are compared: "at equal parameters".
        examples: of the validation part, from which follows what counts as a tie (`Ranking`).
    """
    check_count("examples", examples)
    if total is not None:
        check_count("total", total)
    runs = _named(steps)
    colors = run_colors(runs)
    traces = [trace for name, line in runs.items() for trace in _curves(name, line, colors[name], len(runs) > 1)]
    longest = max([total or 0, *(line[-1].index for line in runs.values() if line)])
    loss = {"title": "loss of the batch", "rangemode": "tozero"}
    accuracy = {"title": "validation accuracy", "range": (0, 1.03), "tickformat": ".0%"}
    return draw(
        traces,
        _title(runs, about, examples),
        " ".join(_describe(name, line) for name, line in runs.items()) or "No step yet.",
        height=216,
        margin={"t": 76 if len(runs) > 1 else 52},
        **side_by_side("step", loss, accuracy, range=(0, longest * 1.02 or 1)),
    )


def _curves(name: str, steps: Steps, color: str, named: bool) -> list[Layout]:
    measured = [step for step in steps if step.measured]
    group: Layout = {"legendgroup": name, "dash": "dash" if is_own(name) else "solid"}  # violet is near to purple
    at, losses = [step.index for step in steps], [step.loss for step in steps]
    loss = line(at, losses, name, color, "step %{x}: loss %{y:.3f}", showlegend=named, **group)
    at, metrics = [step.index for step in measured], [step.metric for step in measured]
    look = {"mode": "lines+markers", "marker": {"size": 5}, "showlegend": False, **group, **on(2)}
    accuracy = line(at, metrics, name, color, "step %{x}: accuracy %{y:.1%}", **look)
    return [loss | {"mode": "lines" if len(steps) > 1 else "markers"}, accuracy]


def _named(steps: Steps | Mapping[str, Steps]) -> dict[str, Steps]:
    return dict(steps) if isinstance(steps, Mapping) else {"this run": steps}


def _title(runs: Mapping[str, Steps], about: str, examples: int) -> str:
    started = {name: line for name, line in runs.items() if line}
    if not started:
        return "No step yet"
    if len(started) == 1:
        ((_, line),) = started.items()
        return (
            f"After {_steps(line[-1].index)} the loss is {line[-1].loss:.2f}, "
            f"<b>{line[-1].metric:.0%}</b> of the validation part is right"
        )
    ranking = Ranking({name: line[-1].metric for name, line in started.items()}, examples)
    return f"{headline(ranking)}{about and ', '}{about}"


def _describe(name: str, line: Steps) -> str:
    """Where a run began and where it is."""
    if not line:
        return f"{name}: no step yet."
    first, last = line[0], line[-1]
    return (
        f"{name}: after {_steps(last.index)} ({last.seconds:.1f} s) the loss went from {first.loss:.2f} to "
        f"{last.loss:.2f}, the validation accuracy from {first.metric:.0%} to {last.metric:.0%}."
    )


def _steps(count: int) -> str:
    return f"{count} step" if count == 1 else f"{count:,} steps"
