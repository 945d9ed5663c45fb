"""Training: its steps, its runs, and what a model answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from glora_lab.record import Record

if TYPE_CHECKING:
    from jaxtyping import Float, Int


@dataclass(frozen=True, eq=False)
class Step(Record):
    """One training step.

    Attributes:
        index: counted from 1.
        loss: of the step's batch, before the update.
        metric: accuracy on the validation part, 0 to 1, measured every few steps and carried in between.
        seconds: since training began, pauses left out.
        measured: whether `metric` is of this very step.
    """

    index: int
    loss: float
    metric: float
    seconds: float
    measured: bool = True


@dataclass(frozen=True, eq=False)
class Run(Record):
    """A finished training run, for comparison. What follows `steps` is known of a run in a panel's table.

    Attributes:
        name: what it is called in tables and pictures.
        params: parameters that were trained.
        metric: test accuracy, 0 to 1.
        seconds: how long it trained, pauses left out.
        steps: all of its steps, where they are at hand.
        validation: the accuracy that ranks it, 0 to 1, measured last; None where it is not known.
        examples: of how many examples that is.
        model: the base model's name.
        task: the task's name.
        taken: how many steps it has where they are still on the disk.
        settings: what `fit` was given, and under `config` the adapter's configuration.
        id: the name of its folder.
    """

    name: str
    params: int
    metric: float
    seconds: float
    steps: tuple[Step, ...] = field(default=(), repr=False)
    validation: float | None = None
    examples: int = 0
    model: str = ""
    task: str = ""
    taken: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)
    id: str = ""

    @property
    def scored(self) -> float | None:
        """What ranks it, the accuracy on the validation part; None where it is not known."""
        return self.steps[-1].metric if self.validation is None and self.steps else self.validation

    def to_dicts(self) -> list[dict[str, Any]]:
        return [{"name": self.name, "params": self.params, "accuracy": self.metric, "seconds": round(self.seconds, 2)}]


@dataclass(frozen=True, eq=False)
class Predictions(Record):
    """What a model says about some images.

    Attributes:
        images: (n, h, w), 0 for paper and 1 for ink.
        labels: what they are, (n,); -1 where that is not known.
        predicted: the model's answers, (n,).
        confidence: probability of its own answer, 0 to 1, (n,).
        classes: names of labels and answers, from 0 on, where they have names.
    """

    images: Float[np.ndarray, "n h w"]
    labels: Int[np.ndarray, " n"]
    predicted: Int[np.ndarray, " n"]
    confidence: Float[np.ndarray, " n"]
    classes: tuple[str, ...] = ()

    @property
    def accuracy(self) -> float:
        """The share of the images whose answer is their label, from 0 to 1."""
        return float((self.labels == self.predicted).mean())

    def first(self, n: int) -> Predictions:
        """The first `n` images and answers."""
        return replace(
            self, **{name: getattr(self, name)[:n] for name in ("images", "labels", "predicted", "confidence")}
        )

    def called(self, label: int) -> str:
        """A label or an answer, by name where it has one."""
        return self.classes[label] if 0 <= label < len(self.classes) else str(label)
