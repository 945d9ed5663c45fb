"""The runs so far as a table, the best of them marked."""

from __future__ import annotations

import html
from collections.abc import Sequence

from torch import nn

from glora_lab.data import Task
from glora_lab.ideas.budget.measure import path_budget
from glora_lab.page.controls import widgets
from glora_lab.training import evaluate

from .record import Run, Step

CELL = "padding:3px 14px 3px 0"
EARLIER_RUNS = 4  # whose curves stay in the figure


class RunTable(widgets.HTML):
    """Finished runs, oldest first, as `runs` and as a table; each has a name of its own.

    Runs of another task are marked by its name, and their curves say nothing about this one.
    """

    def __init__(self) -> None:
        self.runs: list[Run] = []
        super().__init__()

    def begin(self, task: Task) -> None:
        """From now on runs are of this task, and measured on its test part."""
        self._task, self._before = task, len(self.runs)

    def add(self, name: str, model: nn.Module, steps: tuple[Step, ...], total: int) -> Run:
        """The run joins the table, as a stopped one where it has fewer than `total` steps."""
        name = name if len(steps) == total else f"{name}, stopped at {len(steps)}"
        params, accuracy = path_budget(model).total, evaluate(model, self._task.test)
        run = Run(name, params, accuracy, steps[-1].seconds, steps)
        self.runs.append(run)
        self.value = run_table(self.runs)
        return run

    def earlier(self) -> dict[str, tuple[Step, ...]]:
        """Name → steps of the latest runs of this task."""
        return {run.name: run.steps for run in self.runs[self._before :][-EARLIER_RUNS:]}

    def new_name(self, name: str) -> str:
        """The name, numbered where an earlier run has it: curves and table tell runs apart by name."""
        name = f"{self._task.title}: {name}" if self._before else name
        taken = {run.name.partition(", stopped")[0] for run in self.runs}
        numbered = (f"{name} ({n})" for n in range(2, len(self.runs) + 3))
        return name if name not in taken else next(new for new in numbered if new not in taken)


def run_table(runs: Sequence[Run]) -> str:
    """An HTML table: name, parameters, test accuracy, seconds. Empty without runs."""
    if not runs:
        return ""
    best = max(run.metric for run in runs)
    head = "".join(
        f'<th scope="col" style="{CELL};text-align:{side}">{word}</th>'
        for word, side in (("run", "left"), ("parameters", "right"), ("test accuracy", "right"), ("seconds", "right"))
    )
    body = "".join(_row(run, run.metric == best and len(runs) > 1) for run in runs)
    return f'<table style="border-collapse:collapse;line-height:1.4"><tr>{head}</tr>{body}</table>'


def _row(run: Run, best: bool) -> str:
    accuracy = f"<b>★ {run.metric:.1%}</b>" if best else f"{run.metric:.1%}"
    numbers = (f"{run.params:,}", accuracy, f"{run.seconds:.1f}")
    cells = "".join(f'<td style="{CELL};text-align:right">{text}</td>' for text in numbers)
    return f'<tr><td style="{CELL}">{html.escape(run.name)}</td>{cells}</tr>'
