"""GraLoRA seen by its blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from glora_lab.record import Record

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
        """Blocks per side."""
        return len(self.norms)


@dataclass(frozen=True, eq=False)
class BlockCut(Record):
    """The two factors as LoRA has them, B (out, r) and A (r, in). GraLoRA cuts both into k×k pieces: piece (m, n) of B
    times piece (m, n) of A, and the scaling, is block (m, n) of ΔW.

    Of a layer with many channels a sample is kept, as many of each block (`B`, `A` and `delta` have those alone).
    A hybrid's plain LoRA is in `delta` and in neither factor. `params` are all that train, `grid` has the rest.
    """

    grid: BlockGrid
    B: Float[np.ndarray, "o r"]
    A: Float[np.ndarray, "r i"]
    delta: Float[np.ndarray, "o i"]
    params: int

    def to_dicts(self) -> list[dict[str, Any]]:
        own = {"B": f"array {self.B.shape}", "A": f"array {self.A.shape}", "delta": f"array {self.delta.shape}"}
        return [{**self.grid.to_dicts()[0], **own, "params": self.params}]


@dataclass(frozen=True, eq=False)
class BlockDetail(Record):
    """Block (m, n) of ΔW: `block` = scaling · B Aᵀ, with B and A as they train. Of a hybrid the last `hybrid_r`
    columns of both are its plain LoRA's, shared by a whole row (B) or column (A) of blocks.

    `singular_values` are the largest, as many as B has columns; the others are zero. `energy` is the share of ΔW's
    squared norm.
    """

    layer: str
    m: int
    n: int
    k: int
    B: Float[np.ndarray, "o s"]
    A: Float[np.ndarray, "i s"]
    scaling: float
    block: Float[np.ndarray, "o i"]
    singular_values: Float[np.ndarray, " d"]
    rank: int
    norm: float
    energy: float
    hybrid_r: int = 0

    @property
    def writes(self) -> range:
        """The output channels of ΔW's rows here, all that this block can change."""
        return range(self.m * len(self.B), (self.m + 1) * len(self.B))

    @property
    def reads(self) -> range:
        """The input channels of ΔW's columns here, all that this block can depend on."""
        return range(self.n * len(self.A), (self.n + 1) * len(self.A))


@dataclass(frozen=True, eq=False)
class RankAtK(Record):
    """What one number of blocks per side comes to on a layer: the rank of the whole ΔW, and the parameters."""

    k: int
    rank: int
    params: int
