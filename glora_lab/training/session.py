"""One training run in the background."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from glora_lab.data import Task
from glora_lab.ideas.training.record import Step

from .background import Background
from .loop import fit


class TrainSession(Background):
    """One training run in a daemon thread: start, pause, resume, stop, wait.

    A session runs once; to train on, make another with the same model.

    Args:
        model, task, steps, lr, seed, options: as `fit` takes them.
        on_step: called in the training thread after each step; what it raises ends the run as "failed".

    Raises:
        ValueError: at once, for what `fit` refuses.
    """

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        *,
        steps: int,
        lr: float,
        seed: int,
        on_step: Callable[[Step], object] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(fit(model, task, steps=steps, lr=lr, seed=seed, **options), steps, on_step)
