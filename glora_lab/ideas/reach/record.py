"""Which changes of a weight an adapter can make: the change that is wanted, and how near each grid of blocks comes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from glora_lab.record import Record

if TYPE_CHECKING:
    from jaxtyping import Float

MARGIN = 0.02  # errors closer than this are a tie
K = TypeVar("K")


def closest(errors: Mapping[K, float], margin: float = MARGIN) -> K | None:
    """The key of the least error; None in a tie, where all of several are within `margin` of one another."""
    tie = len(errors) > 1 and max(errors.values()) - min(errors.values()) < margin
    return None if tie else min(errors, key=lambda key: errors[key])


@dataclass(frozen=True, eq=False)
class WeightChange(Record):
    """A change of W in one or more draws d; `weight_change` and `weight_changes` make it.

    Attributes:
        name: what it is called.
        matrices: the draws, (d, out, in).
        singular_values: of each draw, the largest first, (d, s).
        error: where it stands for another change, its relative distance from that (Frobenius, 0 to 1).
        method: what made it, where an adapter did; else empty.
    """

    name: str
    matrices: Float[np.ndarray, "d o i"]
    singular_values: Float[np.ndarray, "d s"]
    error: float | None = None
    method: str = ""

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in) of each draw."""
        return self.matrices.shape[1], self.matrices.shape[2]

    @property
    def rank(self) -> int:
        """That of the first draw, the number of its singular values above those that rounding alone would leave."""
        values = self.singular_values[0]
        return int((values > values.max() * max(self.shape) * np.finfo(float).eps).sum())


@dataclass(frozen=True, eq=False)
class Reach(Record):
    """The best that k×k blocks of rank r/k can do for one draw of a change.

    Attributes:
        change: the change's name.
        draw: which of its draws, counted from 0.
        k: blocks per side; 1 is LoRA.
        r: the adapter's rank.
        params: trainable parameters, r·(in + out).
        rank: numerical rank of the best ΔW.
        error: the least ‖change − ΔW‖ / ‖change‖ (Frobenius), 0 to 1.
        trained: the error that an adapter reached by gradient descent; None where none was trained.
    """

    change: str
    draw: int
    k: int
    r: int
    params: int
    rank: int
    error: float
    trained: float | None = None


@dataclass(frozen=True, eq=False)
class RankReach(Record):
    """Changes × k at equal parameters; `rank_reach` measures it.

    Attributes:
        rows: one for each change, draw and k.
    """

    rows: tuple[Reach, ...]

    @property
    def names(self) -> list[str]:
        """The changes, in the order of the rows."""
        return list(dict.fromkeys(row.change for row in self.rows))

    @property
    def ks(self) -> list[int]:
        """Blocks per side, the fewest first."""
        return sorted({row.k for row in self.rows})

    def errors(self, change: str) -> dict[int, float]:
        """k → the mean error over the draws."""
        return {k: float(np.mean([row.error for row in self._of(change, k)])) for k in self.ks}

    def trained(self, change: str) -> dict[int, float]:
        """k → the mean error that training reached; empty where nothing was trained."""
        found = {k: [row.trained for row in self._of(change, k) if row.trained is not None] for k in self.ks}
        return {k: float(np.mean(errors)) for k, errors in found.items() if errors}

    @property
    def training_gap(self) -> float | None:
        """How far training stayed above the least error where it did worst; None where nothing was trained."""
        gaps = [row.trained - row.error for row in self.rows if row.trained is not None]
        return max(gaps) if gaps else None

    def ranks(self, change: str) -> dict[int, int]:
        """k → the largest rank of the best ΔW over the draws."""
        return {k: max(row.rank for row in self._of(change, k)) for k in self.ks}

    def best(self, change: str, margin: float = MARGIN) -> int | None:
        """The k that comes closest; None in a tie, where all mean errors are within `margin` of one another."""
        return closest(self.errors(change), margin)

    def _of(self, change: str, k: int) -> list[Reach]:
        return [row for row in self.rows if row.change == change and row.k == k]
