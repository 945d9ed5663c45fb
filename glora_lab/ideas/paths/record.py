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
    """One GLoRA layer taken apart: W_eff = W0 + W0⊙A + B, b_eff = b0 + b0⊙D + E + W0·C. `path_picture` measures it.

    Numbers are in the weight's own unit. A path that is off or inert contributes zeros.

    Attributes:
        layer: the layer's name in the model.
        form: "elementwise" for W0⊙A, "product" for W0·A.
        modes: path → mode.
        params: path → trainable parameters.
        inert: path → why it can do nothing here although it is asked for.
        w0: the frozen weight W0, (out, in).
        w0a: the whole A term, W0⊙A or W0·A; (out, in).
        b: the B term; (out, in).
        w_eff: what the layer computes with; (out, in).
        b0: the frozen bias, zeros where there is none; (out,).
        b0d: b0⊙D; (out,).
        e: the E term; (out,).
        w0c: W0·C; (out,).
        b_eff: the bias that the layer computes with; (out,).
        rank_w0a: numerical rank of `w0a`; None where the layer is too large to ask while a reader waits.
        rank_b: numerical rank of `b`, likewise.
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
    """What each path does at one moment of training, over all layers; `path_activity` measures it.

    Attributes:
        index: the step.
        norms: path → norm of the terms that it adds, A and B to W0, C to E to b0.
        shares: path → its share of the squared gradient, 1 in all, or 0 without gradients.
    """

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
