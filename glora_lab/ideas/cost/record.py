"""What a training step costs with one method and another."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from glora_lab.record import Record

KINDS = ("flops", "elementwise", "saved_bytes", "params", "checkpoint_bytes", "milliseconds")


@dataclass(frozen=True, eq=False)
class Cost(Record):
    """One method's step, forward, loss and backward, by what it takes. `cost_report` defines each figure; all but
    `milliseconds` are exact.

    Attributes:
        name: what the caller calls it.
        method: what it is: "LoRA", "stock GLoRA", "frozen", "full fine-tuning".
        flops: floating-point operations in products of matrices, 2 per multiply and add.
        elementwise: values that pointwise operations write.
        saved_bytes: bytes kept from forward to backward.
        params: parameters that train.
        checkpoint_bytes: bytes of the tensors in a saved adapter.
        milliseconds: time of a step, the median.
    """

    name: str
    method: str
    flops: int
    elementwise: int
    saved_bytes: int
    params: int
    checkpoint_bytes: int
    milliseconds: float


@dataclass(frozen=True, eq=False)
class CostReport(Record):
    """Methods on one model and one batch, and where they were timed; `cost_report` measures them.

    Attributes:
        rows: one cost for each method.
        model: the model's name, or its class where it has none.
        device: "cpu", or the name of the graphics processor.
        threads: how many threads torch computed with.
        repeats: over how many steps, taken in turns, each `milliseconds` is the median.
        left_out: name → why the method does not fit the model.
    """

    rows: tuple[Cost, ...]
    model: str = ""
    device: str = "cpu"
    threads: int = 1
    repeats: int = 1
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The methods, by the names that the caller gave them."""
        return tuple(row.name for row in self.rows)

    def row(self, name: str) -> Cost:
        """The cost of one method; ValueError for a name that is not there."""
        if name not in self.names:
            raise ValueError(f"`name` (={name!r}) must be one of: {', '.join(self.names)}")
        return self.rows[self.names.index(name)]

    def ratio(self, to: str = "LoRA") -> dict[str, dict[str, float]]:
        """Name → kind of cost → how many times that of the method `to`; of a cost that is 0 there, infinite or,
        where both are, not a number."""
        unit = self.row(to)
        return {
            row.name: {kind: _times(getattr(row, kind), getattr(unit, kind)) for kind in KINDS} for row in self.rows
        }


def _times(cost: float, unit: float) -> float:
    if unit:
        return cost / unit
    return math.inf if cost else math.nan
