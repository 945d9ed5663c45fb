"""Merging an adapter and taking it out again: what is left of the base, and what the output loses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from glora_lab.record import Record

if TYPE_CHECKING:
    from jaxtyping import Float

OURS, STOCK = "glora_lab", "stock PEFT"


@dataclass(frozen=True, eq=False)
class LayerMerge(Record):
    """One layer, merged and unmerged time and again by one library. `merge_report` measures it against the same layer
    in float64.

    Attributes:
        layer: the layer's name in the model.
        by: "glora_lab" or "stock PEFT".
        drift: how far weight and bias are from what they were, relative to that (Frobenius), before the first cycle and
            after each, (cycles + 1,); infinite from where a value is not finite.
        changed: share of their numbers that the last cycle left with other bits, 0 to 1.
        effect: what the adapter does to the layer's output, relative to it.
        unmerged: error of the output before merging, relative to what the adapter does (1: as if it were not there);
            nan where it does nothing.
        merged: the same once merged.
    """

    layer: str
    by: str
    drift: Float[np.ndarray, " c"]
    changed: float
    effect: float
    unmerged: float
    merged: float

    @property
    def lost_at(self) -> int | None:
        """The cycle after which some value was no finite number any more; None where none was lost."""
        lost = np.flatnonzero(~np.isfinite(self.drift))
        return int(lost[0]) if len(lost) else None

    def to_dicts(self) -> list[dict[str, Any]]:
        errors = {"effect": self.effect, "unmerged": self.unmerged, "merged": self.merged}
        return [{"layer": self.layer, "by": self.by, "drift": self.drift[-1], "changed": self.changed, **errors}]


@dataclass(frozen=True, eq=False)
class MergeReport(Record):
    """An adapter's layers in one precision, by each library that has them; `merge_report` measures it.

    Attributes:
        rows: one for each layer and library.
        dtype: the precision of the base: "float32", "bfloat16", "float16" or "float64".
        method: "LoRA", "GLoRA" or "GraLoRA", whichever library it came from.
        left_out: "layer (library)" → why it has no row.
    """

    rows: tuple[LayerMerge, ...]
    dtype: str
    method: str = "GLoRA"
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def cycles(self) -> int:
        """How many times each layer was merged and unmerged."""
        return len(self.rows[0].drift) - 1 if self.rows else 0

    @property
    def libraries(self) -> tuple[str, ...]:
        """Those that have rows here, of "glora_lab" and "stock PEFT"."""
        return tuple(dict.fromkeys(row.by for row in self.rows))

    def of(self, by: str) -> list[LayerMerge]:
        """The layers of one library; ValueError for one that has none here."""
        if by not in self.libraries:
            raise ValueError(f"`by` (={by!r}) must be one of: {', '.join(self.libraries) or 'none'}")
        return [row for row in self.rows if row.by == by]

    def drift(self, by: str) -> Float[np.ndarray, " c"]:
        """Of the layer that is farthest off, before the first cycle and after each."""
        return np.max([row.drift for row in self.of(by)], axis=0)

    def changed(self, by: str) -> float:
        """The largest share of a layer's numbers that came back with other bits."""
        return max(row.changed for row in self.of(by))

    def lost_at(self, by: str) -> int | None:
        """The first cycle after which a layer holds what is no finite number."""
        return min((row.lost_at for row in self.of(by) if row.lost_at is not None), default=None)

    def error(self, by: str, state: str) -> float:
        """The mean over the layers of the output's error in a state, "unmerged" or "merged"; nan where nothing acts."""
        errors = [getattr(row, state) for row in self.of(by)]
        known = [error for error in errors if not np.isnan(error)]
        return float(np.mean(known)) if known else float("nan")


@dataclass(frozen=True, eq=False)
class MergeOrder(Record):
    """Two adapters of one layer, merged together and one after the other; `merge_order` measures it. A distance is that
    of weight and bias from the sum of both changes, relative to it (Frobenius).

    Attributes:
        layer: the layer's name in the model.
        names: the two adapters.
        together: the distance where both are merged at once.
        in_turn: the distances with the first before the second, and the other way round.
        method: "LoRA", "GLoRA", "GraLoRA", or as the method is called.
    """

    layer: str
    names: tuple[str, str]
    together: float
    in_turn: tuple[float, float]
    method: str = ""
