"""What OutlierPanel looks at: a model, a batch for it, and in words where the batch is from."""

from __future__ import annotations

from torch import nn

from glora_lab.anatomy.batch import Batch
from glora_lab.data import load_task
from glora_lab.ideas.training.panel_task import base_of, check_task_name, tasks_of
from glora_lab.page.given import given_model

EXAMPLES = 32


def batch_of(model: nn.Module | str | None, batch: Batch | None, task: str | None) -> tuple[nn.Module, Batch, str]:
    """The model, the batch that was given or examples of a task that goes with it, and where these are from.

    Raises:
        ValueError: for what is no model, or an unknown task.
    """
    found = given_model(base_of(model, task) if isinstance(model, str) else model)
    if batch is not None:
        return found, batch, "On the batch that was given."
    loaded = load_task(check_task_name(task, tasks_of(found)))
    what = "images" if loaded.kind == "images" else "texts"
    return found, loaded.train.rows(slice(0, EXAMPLES)), f"On {EXAMPLES} {what} of “{loaded.title}”."
