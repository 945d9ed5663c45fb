"""What full fine-tuning changed in each matrix of a real model, and which grid of blocks comes nearest to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean, geometric_mean
from typing import Any

from glora_lab.record import Record

SHARES = (1, 8, 16, 32)  # so many directions, the strongest first


@dataclass(frozen=True, eq=False)
class MatrixChange(Record):
    """ΔW of one layer after full fine-tuning.

    Attributes:
        layer: the layer's name in the model.
        shape: (out, in).
        values: its largest singular values, relative to the first.
        energy: 1, 8, 16 and 32 → share of ΔW's squared Frobenius norm in so many directions, the strongest first.
        slope: of log σⱼ over log j.
        errors: (k, r) → the least relative error of any adapter with k×k blocks and r·(in + out) parameters.
    """

    layer: str
    shape: tuple[int, int]
    values: tuple[float, ...]
    energy: Mapping[int, float]
    slope: float
    errors: Mapping[tuple[int, int], float]

    def order(self, r: int) -> tuple[int, ...]:
        """The k, the nearest first."""
        found = {k: error for (k, rank), error in self.errors.items() if rank == r}
        return tuple(sorted(found, key=lambda k: found[k]))

    def to_dicts(self) -> list[dict[str, Any]]:
        nearest = {f"nearest k at r = {r}": self.order(r)[0] for r in sorted({r for _, r in self.errors})}
        energy = {f"first {n}": f"{share:.0%}" for n, share in self.energy.items()}
        return [{"layer": self.layer, **energy, "slope": f"{self.slope:.2f}", **nearest}]


@dataclass(frozen=True, eq=False)
class RealChanges(Record):
    """All matrices of one training.

    Attributes:
        matrices: one for each layer.
        made: of what and on what, as `RealRuns` has it, and the learning rate `lr`.
    """

    matrices: tuple[MatrixChange, ...]
    made: Mapping[str, Any]

    @property
    def rows(self) -> tuple[MatrixChange, ...]:
        """The matrices, under the name that all records have for their rows."""
        return self.matrices

    @property
    def ks(self) -> tuple[int, ...]:
        """Blocks per side, the fewest first."""
        return tuple(sorted({k for k, _ in self.matrices[0].errors}))

    @property
    def ranks(self) -> tuple[int, ...]:
        """The smallest first."""
        return tuple(sorted({r for _, r in self.matrices[0].errors}))

    def mean_error(self, k: int, r: int) -> float:
        """The least relative error with k×k blocks at rank r, the mean over the matrices."""
        return fmean(matrix.errors[k, r] for matrix in self.matrices)

    def nearest(self, k: int, r: int) -> int:
        """Of how many matrices this k comes nearest."""
        return sum(matrix.order(r)[0] == k for matrix in self.matrices)

    def energy(self, directions: int) -> float:
        """The mean share in so many directions."""
        return fmean(matrix.energy[directions] for matrix in self.matrices)

    @property
    def slope(self) -> float:
        """The mean over the matrices."""
        return fmean(matrix.slope for matrix in self.matrices)

    @property
    def trend(self) -> tuple[tuple[int, float], tuple[int, float]]:
        """The ends (j, σⱼ/σ₁) of a line of the mean slope through the middle of all points, on logarithmic axes."""
        kept = [value for matrix in self.matrices for value in matrix.values if value > 0]
        places = range(1, max(len(matrix.values) for matrix in self.matrices) + 1)
        level = geometric_mean(kept) / geometric_mean([place**self.slope for place in places])
        return (1, level), (places[-1], level * places[-1] ** self.slope)
