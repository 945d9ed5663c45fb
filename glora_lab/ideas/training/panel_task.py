"""What a model learns: one of the package's tasks that suit it, or one of the reader's data."""

from __future__ import annotations

from torch import nn

from glora_lab.arguments import check_choice, refuse
from glora_lab.data import BYTES, TASKS, Task, load_task
from glora_lab.page.controls.widgets import Dropdown
from glora_lab.training import check_task

SAYS = "What the model learns; another task begins a new part of the table."
SIDE = 8  # pixels of a digit


class TaskChoice(Dropdown):
    """The tasks that `base` takes; `chosen` is the one that is chosen.

    Args:
        task: a Task of the reader's own, or a key of `TASKS`; None for the first of them.

    Raises:
        ValueError: for a task that does not go with the model, or is none.
    """

    def __init__(self, base: nn.Module, task: str | Task | None, says: str = SAYS) -> None:
        self._own = _checked(base, task) if not isinstance(task, str | None) else None
        titles = _titles(base) if self._own is None else {self._own.name: self._own.title}
        name = task if isinstance(task, str) else next(iter(titles))
        check_choice("task", name, titles)
        tasks = [(title, name) for name, title in titles.items()]
        super().__init__(options=tasks, value=name, description="task", says=says, layout={"width": "320px"})

    def chosen(self) -> Task:
        return self._own or load_task(self.value)


def _titles(base: nn.Module) -> dict[str, str]:
    """The package's tasks that the model takes, by name: text where it writes bytes, digits where it reads such."""
    config = getattr(base, "config", None)
    writes, side = getattr(config, "vocab_size", None), getattr(config, "image_size", SIDE)
    kind = "text" if writes == BYTES else "images" if writes is None and side == SIDE else ""
    titles = {name: recipe.title for name, recipe in TASKS.items() if recipe.kind == kind}
    if not titles:
        raise refuse(
            "task", None, f"must be a task of your own data, from task_from: none here suits {type(base).__name__}"
        )
    return titles


def _checked(base: nn.Module, task: object) -> Task:
    if not isinstance(task, Task):
        raise refuse("task", task, f"must be a Task, as task_from makes one, or one of {', '.join(TASKS)}")
    check_task(base, task)
    return task
