"""Gradient descent on one batch: how the loss falls, and how large a step may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from glora_lab.record import Record

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True, eq=False)
class Descent(Record):
    """The loss on one and the same batch under gradient descent; `descent` makes it.

    Attributes:
        method: what trains: "LoRA", "GraLoRA", "full fine-tuning".
        optimizer: "sgd" or "adam".
        lr: the learning rate of every step.
        losses: before each step and after the last, (steps + 1,); shorter where it was given up.
    """

    method: str
    optimizer: str
    lr: float
    losses: Float[np.ndarray, " t"]

    @property
    def stable(self) -> bool:
        """Whether every loss is a finite number and none is above the first."""
        return bool(np.isfinite(self.losses).all() and (self.losses <= self.losses[0]).all())

    @property
    def final(self) -> float:
        """The last loss."""
        return float(self.losses[-1])


@dataclass(frozen=True, eq=False)
class StableStep(Record):
    """The largest learning rate found stable; `stable_step` looks for it.

    Attributes:
        method: what trains: "LoRA", "GraLoRA", "full fine-tuning".
        steps: how many steps had to be stable.
        largest: that learning rate.
        tried: all descents that were tried, by rising learning rate.
    """

    method: str
    steps: int
    largest: float
    tried: tuple[Descent, ...]

    def to_dicts(self) -> list[dict[str, Any]]:
        return [{"method": self.method, "steps": self.steps, "largest": self.largest, "tried": len(self.tried)}]
