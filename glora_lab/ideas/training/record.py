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
    """One training step. `index` counts from 1; `loss` is the batch's; `metric` is the accuracy on the
    validation part, measured every few steps and carried in between (`measured` tells); `seconds` since
    training began, pauses left out."""

    index: int
    loss: float
    metric: float
    seconds: float
    measured: bool = True


@dataclass(frozen=True, eq=False)
class Run(Record):
    """A finished training run, for comparison. `params` counts what was trained; `metric` is test accuracy.

    The rest is known of a run in a panel's table. `validation` is the accuracy that ranks it, measured last on so many
    `examples`; `taken` counts its steps where `steps` are still on the disk; `settings` are what `fit` was given and
    the adapter's configuration; `id` names its folder.
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
    """What a model says about some images: `confidence` is the probability of its own answer; `classes` names labels
    and answers, from 0 on, where they have names."""

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
