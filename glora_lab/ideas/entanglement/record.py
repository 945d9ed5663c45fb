"""The gradient of a layer beside what an adapter makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from glora_lab.record import Record

if TYPE_CHECKING:
    from jaxtyping import Float


LIMIT = 3.0  # times its own size: from here on a channel's gradient is called off


@dataclass(frozen=True, eq=False)
class GradientReport(Record):
    """G = ∂L/∂W of a layer, and what its adapter makes of it, J Jᵀ G. `gradient_report` measures it, and has the
    formulas.

    Attributes:
        layer: the layer's name in the model.
        method: "LoRA", "GLoRA", "GraLoRA", or as the method is called.
        full: G, (out, in).
        effective: J Jᵀ G as it is, without `factor`, (out, in).
        deviation: how far factor · J Jᵀ G is from G in each input channel, in units of G's column; (in,).
        block_deviation: the same within each block [m, n], the median over its channels; (k, k).
        scaling: the convention that gives `factor`: "as is", "equal decrease" or "equal size".
        factor: what J Jᵀ G is multiplied by before it is compared.
        outliers: input channels whose gradient is above five times the median, the largest first.
    """

    layer: str
    method: str
    full: Float[np.ndarray, "o i"]
    effective: Float[np.ndarray, "o i"]
    deviation: Float[np.ndarray, " i"]
    block_deviation: Float[np.ndarray, "k k"]
    scaling: str
    factor: float
    outliers: tuple[int, ...] = ()

    @property
    def prominence(self) -> Float[np.ndarray, " i"]:
        """The norm of G's column of every input channel (in,), in medians of those that are not 0; all 0 where G is."""
        sizes = np.linalg.norm(self.full, axis=0)
        return sizes / np.median(sizes[sizes > 0]) if sizes.any() else sizes

    def strongest(self, count: int = 1) -> list[tuple[int, float]]:
        """The `count` input channels of the largest gradients, each with its prominence, largest first; outlier or not.

        A channel that has no gradient is none of them.
        """
        sizes = self.prominence
        return [(int(i), float(sizes[i])) for i in np.argsort(-sizes, kind="stable")[:count] if sizes[i] > 0]

    def deviating(self, times: float = LIMIT) -> float:
        """The share of input channels whose gradient is off by more than `times` its own size."""
        return float((self.deviation > times).mean())

    def contaminated(self, times: float = LIMIT) -> list[tuple[int, int]]:
        """The blocks (m, n) of which at least half the input channels are off by more than that."""
        return [(int(m), int(n)) for m, n in np.argwhere(self.block_deviation > times)]
