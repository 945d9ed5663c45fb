"""What merging into a real model's weights in bfloat16 loses, ours beside stock PEFT's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from glora_lab.record import Record


@dataclass(frozen=True, eq=False)
class DriftRow(Record):
    """A trained adapter, merged and taken out again time and again in all layers by one library. `drift` maps a number
    of cycles to the relative distance (Frobenius) of the layer that is farthest from what it was; `changed` is the
    largest share of a layer's numbers with other bits at the end. `unmerged` and `merged` are the mean errors of a
    layer's output, relative to what the adapter does to it, and `effect` is what that is of the output."""

    method: str
    by: str
    drift: Mapping[int, float]
    changed: float
    effect: float
    unmerged: float
    merged: float


@dataclass(frozen=True, eq=False)
class RealDrift(Record):
    """A row for each method and library, `made` as the record of the runs has it."""

    rows: tuple[DriftRow, ...]
    made: Mapping[str, Any]

    def row(self, method: str, by: str) -> DriftRow:
        """Raises ValueError where there is none."""
        found = [row for row in self.rows if (row.method, row.by) == (method, by)]
        if not found:
            known = ", ".join(f"{row.method} by {row.by}" for row in self.rows)
            raise ValueError(f"`method` (={method!r}) by `by` (={by!r}) is not here; there are {known}")
        return found[0]
