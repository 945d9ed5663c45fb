"""What merging into a real model's weights in bfloat16 loses, ours beside stock PEFT's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from glora_lab.record import Record


@dataclass(frozen=True, eq=False)
class DriftRow(Record):
    """A trained adapter, merged and taken out again time and again in all layers by one library; as `LayerMerge`, over
    layers.

    Attributes:
        method: the arm.
        by: "glora_lab" or "stock PEFT".
        drift: number of cycles → relative distance (Frobenius) of the layer that is farthest from what it was.
        changed: the largest share of a layer's numbers with other bits at the end, 0 to 1.
        effect: what the adapter does to a layer's output, relative to it, the mean over the layers.
        unmerged: error of a layer's output before merging, relative to what the adapter does to it, the mean.
        merged: the same once merged.
    """

    method: str
    by: str
    drift: Mapping[int, float]
    changed: float
    effect: float
    unmerged: float
    merged: float


@dataclass(frozen=True, eq=False)
class RealDrift(Record):
    """What merging into a real model's weights in bfloat16 loses.

    Attributes:
        rows: one for each method and library.
        made: of what and on what, as `RealRuns` has it, and the `budget` of the arms.
    """

    rows: tuple[DriftRow, ...]
    made: Mapping[str, Any]

    def row(self, method: str, by: str) -> DriftRow:
        """The one of a method and a library; ValueError where there is none."""
        found = [row for row in self.rows if (row.method, row.by) == (method, by)]
        if not found:
            known = ", ".join(f"{row.method} by {row.by}" for row in self.rows)
            raise ValueError(f"`method` (={method!r}) by `by` (={by!r}) is not here; there are {known}")
        return found[0]
