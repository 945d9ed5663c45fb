"""GraLoRA seen by its blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .record import Record

if TYPE_CHECKING:
    from jaxtyping import Float, Int


@dataclass(frozen=True, eq=False)
class BlockGrid(Record):
    """ΔW of one layer cut into k×k blocks [m, n]: each one's Frobenius norm, numerical rank (-1: not asked) and share
    of the squared norm (`energy`, 1 in all). `rank` is the whole's, `shape` (out, in); a hybrid's LoRA is in all."""

    layer: str
    norms: Float[np.ndarray, "k k"]
    ranks: Int[np.ndarray, "k k"]
    energy: Float[np.ndarray, "k k"]
    rank: int | None
    r: int
    hybrid_r: int
    shape: tuple[int, int]

    @property
    def k(self) -> int:
        return len(self.norms)
