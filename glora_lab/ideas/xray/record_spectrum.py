"""What an adapter changes, seen by its singular values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from glora_lab.record import Record

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True, eq=False)
class Spectrum(Record):
    """What an adapter changes in one layer, seen by ΔW's singular values; `delta_spectrum` measures it.

    Attributes:
        layer: the layer's name in the model.
        singular_values: in the weight's own unit, the largest first. Where factors bound the rank there are as many as
            they leave room for, and those beyond are zero.
        effective_rank: exponential of the entropy of σ/Σσ (Roy and Vetterli, EUSIPCO 2007).
    """

    layer: str
    singular_values: Float[np.ndarray, " s"]
    effective_rank: float

    @property
    def norm(self) -> float:
        """ΔW's Frobenius norm."""
        return float(np.sqrt((self.singular_values**2).sum()))

    def directions_for(self, share: float = 0.9) -> int:
        """How many of the largest values hold this share of the energy (the squared norm); 0 where ΔW is zero."""
        energy = np.cumsum(self.singular_values**2)
        if not len(energy) or not energy[-1]:
            return 0
        return int(np.searchsorted(energy, share * energy[-1] * (1 - 1e-12))) + 1
