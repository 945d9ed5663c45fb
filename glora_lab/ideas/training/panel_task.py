"""What a model learns: one of the package's tasks that suit it, or one of the reader's data."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from glora_lab.arguments import check_choice, refuse
from glora_lab.data import BYTES, TASKS, Task, load_task
from glora_lab.data.docstrings import DOCSTRING_CLASSES
from glora_lab.data.minilm import MINILM
from glora_lab.models import load_model
from glora_lab.page.controls.widgets import Dropdown
from glora_lab.training import check_task

SAYS = "What the model learns; another task begins a new part of the table."
SIDE = 8  # pixels of a digit
CLASSIFIER = "ForSequenceClassification"


class TaskChoice(Dropdown):
    """The tasks that `base` takes; `chosen` is the one that is chosen.

    Args:
        task: a Task of the reader's own, or a key of `TASKS`; None for the first of them.

    Raises:
        ValueError: for a task that does not go with the model, or is none.
    """

    def __init__(self, base: nn.Module, task: str | Task | None, says: str = SAYS) -> None:
        self._own = _checked(base, task) if not isinstance(task, str | None) else None
        titles = tasks_of(base) if self._own is None else {self._own.name: self._own.title}
        name = check_task_name(task if isinstance(task, str) else None, titles)
        tasks = [(title, name) for name, title in titles.items()]
        super().__init__(options=tasks, value=name, description="task", says=says, layout={"width": "320px"})

    def chosen(self) -> Task:
        return self._own or load_task(self.value)


def base_of(model: str, task: str | Task | None = None) -> nn.Module:
    """A model by its name for `load_model`. minilm comes with a fresh head: for a task of the reader's own one of its
    classes, and else one that all of the package's tasks for it fit.
    """
    if model != MINILM:
        return load_model(model)
    return load_model(model, num_labels=task.num_classes if isinstance(task, Task) else max(DOCSTRING_CLASSES.values()))


def loading_code_of(base: nn.Module, model: str) -> str:
    """Python that loads what `base_of` gave for a model's name."""
    head = f", num_labels={base.config.num_labels}" if model == MINILM else ""  # type: ignore[union-attr]
    return f'load_model("{model}"{head})'


def tasks_of(base: nn.Module) -> dict[str, str]:
    """Name → title of the package's tasks that the model takes: text where it writes bytes, digits where it reads such,
    sentences where it is minilm with labels enough.

    Raises:
        ValueError: for a model that takes none.
    """
    config = getattr(base, "config", None)
    writes, side = getattr(config, "vocab_size", None), getattr(config, "image_size", SIDE)
    if getattr(config, "name_or_path", "") == MINILM and type(base).__name__.endswith(CLASSIFIER):
        fitting = {name for name, classes in DOCSTRING_CLASSES.items() if classes <= config.num_labels}  # type: ignore[union-attr]
    else:
        kind = "text" if writes == BYTES else "images" if writes is None and side == SIDE else ""
        fitting = {name for name, recipe in TASKS.items() if recipe.kind == kind}
    titles = {name: recipe.title for name, recipe in TASKS.items() if name in fitting}
    if not titles:
        raise refuse(
            "task", None, f"must be a task of your own data, from task_from: none here suits {type(base).__name__}"
        )
    return titles


def check_task_name(task: str | None, titles: Mapping[str, str]) -> str:
    """The task that is meant, the first for None. ValueError for one that is not among them."""
    name = next(iter(titles)) if task is None else task
    check_choice("task", name, titles)
    return name


def _checked(base: nn.Module, task: object) -> Task:
    if not isinstance(task, Task):
        raise refuse("task", task, f"must be a Task, as task_from makes one, or one of {', '.join(TASKS)}")
    check_task(base, task)
    return task
