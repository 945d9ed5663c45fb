"""Reach: how near an adapter of so many parameters can come to a change of W that is wanted, whatever trains it.

The k×k blocks of a GraLoRA have factors of their own, and the squared Frobenius norm of the difference is the sum over
the blocks of theirs. So the best ΔW is the best one of each block, and that is its singular value decomposition cut
off after r/k directions (Eckart and Young 1936; the grid: arXiv 2505.20355). k = 1 is LoRA: the first r directions of
the whole. All k have r·(in + out) parameters, so what is compared is where the directions are spent.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from glora_lab.adapters import GraloraConfig
from glora_lab.adapters.gralora.blocks import BlockPlan
from glora_lab.arguments import check_count, check_counts, check_kind, check_positive_int, check_seed, refuse
from glora_lab.ideas.blocks.measure import cut

from .measure_trained import trained_error
from .measure_weight_changes import as_numbers, weight_change
from .record import RankReach, Reach, WeightChange

A_CHANGE = "must be a WeightChange, as weight_change makes one of a matrix"


class Nearest:
    """The nearest ΔW to one change, (out, in), of every grid and rank: each grid is decomposed once.

    Each method raises ValueError where k does not divide both sides and r, or the change is zero.
    """

    def __init__(self, change: np.ndarray) -> None:
        self._change = as_numbers("change", change)
        self._parts: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        self._ranks: dict[tuple[int, int], int] = {}

    def best(self, k: int, r: int) -> np.ndarray:
        """That ΔW."""
        (left, values, right), s = self._grid(k, r), r // k
        blocks = (left[..., :s] * values[..., None, :s]) @ right[..., :s, :]  # (m, n, out/k, in/k)
        return blocks.swapaxes(1, 2).reshape(self._change.shape)

    def error(self, k: int, r: int) -> float:
        """Its error: ‖change − ΔW‖ / ‖change‖."""
        values = self._grid(k, r)[1]
        return float(np.linalg.norm(values[..., r // k :]) / np.linalg.norm(values))

    def rank(self, k: int, r: int) -> int:
        """Its rank, as a matrix."""
        if (k, r) not in self._ranks:
            self._ranks[k, r] = weight_change("", self.best(k, r)).rank
        return self._ranks[k, r]

    def _grid(self, k: int, r: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(m, n, out/k, s), (m, n, s), (m, n, s, in/k): of each block the directions, the strongest first."""
        _check(self._change.shape, k, r)
        if k not in self._parts:
            left, values, right = np.linalg.svd(cut(self._change, k), full_matrices=False)
            if not values.any():
                raise ValueError("`change` must not be zero: there is nothing to come near to")
            self._parts[k] = left, values, right
        return self._parts[k]


class Wanted:
    """A change that goes wherever a WeightChange goes, for whoever asks at one rank after another."""

    def __init__(self, change: WeightChange) -> None:
        self.change, self.draws = change, [Nearest(matrix) for matrix in change.matrices]


def best_change(change: np.ndarray, *, k: int, r: int) -> np.ndarray:
    """The ΔW nearest to a change of all that k×k blocks can make, in float64.

    Args:
        change: what is wanted, (out, in).
        k: blocks per side, 1 for LoRA; it divides both sides and r.
        r: rank; each block has r/k.

    Returns:
        (out, in), of each block the singular value decomposition, cut off after r/k directions (Eckart and Young 1936).

    Raises:
        ValueError: where k does not divide both sides and r, or the change is zero.
    """
    return Nearest(change).best(k, r)


def best_error(change: np.ndarray, *, k: int, r: int) -> float:
    """The least ‖change − ΔW‖ / ‖change‖ (Frobenius) that k×k blocks can reach, 0 to 1; see `best_change`.

    Args:
        change: what is wanted, (out, in).
        k: blocks per side, 1 for LoRA; it divides both sides and r.
        r: rank; each block has r/k.

    Raises:
        ValueError: where k does not divide both sides and r, or the change is zero.
    """
    return Nearest(change).error(k, r)


def best_changes(
    change: WeightChange | Wanted, *, r: int = 16, ks: Iterable[int] = (1, 2, 4, 8)
) -> tuple[WeightChange, ...]:
    """The change's first draw and, for each k, the best ΔW there is for it, with its error; each (1, out, in).

    Args:
        change: what is wanted, as `weight_change` makes it.
        r: rank; every k divides it, and both sides of the change.
        ks: blocks per side; 1 is LoRA.

    Raises:
        ValueError: where k does not divide both sides and r, or the change is zero.
    """
    wanted, ks = _wanted(change), check_counts("ks", ks)
    nearest = wanted.draws[0]
    best = [(k, nearest.best(k, r), nearest.error(k, r)) for k in ks]
    return (
        weight_change(wanted.change.name, wanted.change.matrices[0]),
        *(
            weight_change(f"k = {k}", matrix, error=error, method="LoRA" if k == 1 else "GraLoRA")
            for k, matrix, error in best
        ),
    )


def rank_reach(
    changes: WeightChange | Wanted | Iterable[WeightChange | Wanted],
    *,
    r: int = 16,
    ks: Iterable[int] = (1, 2, 4, 8),
    steps: int = 0,
    seed: int = 0,
) -> RankReach:
    """The best error that each k can reach for each change and each of its draws, at equal parameters r·(in + out).

    Args:
        changes: what is wanted, of any sizes; see `weight_changes` for shapes, `weight_change` for matrices of yours.
        r: rank; every k divides it, and the sides of every change.
        ks: blocks per side; 1 is LoRA.
        steps: above 0, an adapter is also trained towards each draw for so many steps, see `trained_error`.
        seed: of the adapters' initial values.

    Raises:
        ValueError: where k does not divide both sides and r, or a change is zero.
    """
    check_count("steps", steps)
    check_seed(seed)
    given = (changes,) if isinstance(changes, WeightChange | Wanted) else changes
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise refuse("changes", given, f"must be one or several changes, each {A_CHANGE.removeprefix('must be ')}")
    ks = check_counts("ks", ks)
    rows = []
    for wanted in list(map(_wanted, given)):
        for draw, nearest in enumerate(wanted.draws):
            rows += [_row(wanted.change, draw, nearest, k, r, steps, seed) for k in ks]
    return RankReach(tuple(rows))


def _row(change: WeightChange, draw: int, nearest: Nearest, k: int, r: int, steps: int, seed: int) -> Reach:
    trained = None
    matrix, error = change.matrices[draw], nearest.error(k, r)
    if steps:
        config = GraloraConfig(r=r, gralora_k=k, alpha=r)
        trained = trained_error(matrix, config, steps=steps, seed=seed)
    return Reach(
        change=change.name,
        draw=draw,
        k=k,
        r=r,
        params=_plan(matrix.shape, k, r).total,
        rank=nearest.rank(k, r),
        error=error,
        trained=trained,
    )


def _wanted(change: WeightChange | Wanted) -> Wanted:
    check_kind("change", change, (WeightChange, Wanted), A_CHANGE)
    return change if isinstance(change, Wanted) else Wanted(change)


def _plan(shape: tuple[int, ...], k: int, r: int) -> BlockPlan:
    return BlockPlan("change", shape[1], shape[0], r, 0, k, scaling=1.0)


def _check(shape: tuple[int, ...], k: int, r: int) -> None:
    check_positive_int("k", k)
    check_positive_int("r", r)
    if len(shape) != 2:
        raise ValueError(f"`change` (of shape {shape}) must be a matrix (out, in)")
    plan = _plan(shape, k, r)
    if not plan.fits:
        fits = ", ".join(map(str, plan.fitting_k))
        raise refuse("k", k, f"must divide r (={r}) and both sides of the change {shape}; k that fit: {fits}")
