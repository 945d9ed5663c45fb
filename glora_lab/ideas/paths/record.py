"""GLoRA seen by its paths: what each costs, what it makes of a layer, what it does while it trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from glora_lab.record import Record

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True, eq=False)
class PathPicture(Record):
    """One GLoRA layer taken apart: W_eff = W0 + W0⊙A + B, b_eff = b0 + b0⊙D + E + W0·C.

    `w0a` is the whole A term (W0⊙A, or W0·A in the product form); `b0d`, `e` and `w0c` are the bias
    terms. A path that is off or inert contributes zeros. Ranks are numerical ranks of the two weight terms,
    None where the layer is too large to ask while a reader waits.
    """

    layer: str
    form: str
    modes: Mapping[str, str]
    params: Mapping[str, int]
    inert: Mapping[str, str]
    w0: Float[np.ndarray, "o i"]
    w0a: Float[np.ndarray, "o i"]
    b: Float[np.ndarray, "o i"]
    w_eff: Float[np.ndarray, "o i"]
    b0: Float[np.ndarray, " o"]
    b0d: Float[np.ndarray, " o"]
    e: Float[np.ndarray, " o"]
    w0c: Float[np.ndarray, " o"]
    b_eff: Float[np.ndarray, " o"]
    rank_w0a: int | None
    rank_b: int | None

    @property
    def total(self) -> int:
        """Trainable parameters of the layer."""
        return sum(self.params.values())

    @property
    def weight_change(self) -> float:
        """Frobenius norm of W_eff − W0 over that of W0."""
        return _relative(self.w_eff - self.w0, self.w0)

    @property
    def bias_change(self) -> float:
        """Norm of b_eff − b0 over that of b0; infinite where a bias appears that was not there."""
        return _relative(self.b_eff - self.b0, self.b0)


@dataclass(frozen=True, eq=False)
class PathActivity(Record):
    """What each path does at one moment of training, summed over all layers: `norms` of the terms that the
    paths add to W0 and b0 (A to B, C to E), and each path's share of the squared gradient (0 to 1 in all)."""

    index: int
    norms: Mapping[str, float]
    shares: Mapping[str, float]

    def to_dicts(self) -> list[dict[str, Any]]:
        return [
            {"index": self.index, "path": path, "norm": self.norms[path], "gradient share": self.shares[path]}
            for path in self.norms
        ]


def _relative(change: np.ndarray, base: np.ndarray) -> float:
    changed, size = float(np.linalg.norm(change)), float(np.linalg.norm(base))
    return changed / size if size else (float("inf") if changed else 0.0)
