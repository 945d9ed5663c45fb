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
    """ΔW of one layer cut into k×k blocks [m, n], m the output block and n the input block; `block_grid` measures it.

    A hybrid's plain LoRA is in every number but `r`.

    Attributes:
        layer: the layer's name in the model.
        norms: each block's Frobenius norm, in the weight's own unit; (k, k).
        ranks: each block's numerical rank, -1 where it was not asked for; (k, k).
        energy: each block's share of ΔW's squared norm, 1 in all, or 0 where ΔW is zero; (k, k).
        rank: numerical rank of the whole ΔW; None where it was not asked for.
        r: the adapter's rank, of which each block has r/k.
        hybrid_r: rank of the plain LoRA beside the blocks; 0 without one.
        shape: (out, in) of ΔW.
    """

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
    """The two factors as LoRA has them, which GraLoRA cuts into k×k pieces: piece (m, n) of B times piece (m, n) of A,
    and the scaling, is block (m, n) of ΔW. `block_cut` measures it.

    Of a layer with many channels `B`, `A` and `delta` hold a sample, as many channels of each block.

    Attributes:
        grid: norms and ranks of the blocks, of all channels.
        B: the output factor (out, r), without a hybrid's plain LoRA.
        A: the input factor (r, in), without a hybrid's plain LoRA.
        delta: ΔW (out, in), scaling and a hybrid's plain LoRA included, in the weight's own unit.
        params: trainable parameters of the adapter on this layer.
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
    """One block of ΔW with its factors: `block` = scaling · B Aᵀ. `block_detail` measures it.

    Attributes:
        layer: the layer's name in the model.
        m: the output block, counted from 0.
        n: the input block, counted from 0.
        k: blocks per side.
        B: the output factor as it trains, (out/k, r/k); of a hybrid the last `hybrid_r` columns are its plain LoRA's,
            which all blocks of the row share.
        A: the input factor as it trains, (in/k, r/k); of a hybrid the last `hybrid_r` columns are its plain LoRA's,
            which all blocks of the column share.
        scaling: what the product is multiplied by, alpha/(r + hybrid_r) or as `use_rslora` has it.
        block: the block of ΔW, (out/k, in/k), in the weight's own unit.
        singular_values: the block's largest, as many as B has columns; the others are zero.
        rank: the block's numerical rank.
        norm: the block's Frobenius norm.
        energy: the block's share of ΔW's squared norm, 0 to 1.
        hybrid_r: rank of the plain LoRA beside the blocks; 0 without one.
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
    """What one number of blocks per side comes to on a layer; `rank_by_k` makes a list of them.

    Attributes:
        k: blocks per side.
        rank: numerical rank of the whole ΔW.
        params: trainable parameters on the layer.
    """

    k: int
    rank: int
    params: int
