"""Changes of W to aim at, of five shapes that differ in where their few directions lie, if they have any.

All have Frobenius norm 1, so that their entries are of one typical size and their errors can be compared. Heatmaps
hardly tell the first three apart; their singular values do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

from glora_lab.arguments import check_choice, check_count, check_number, check_positive_int, check_text, refuse

from .record import WeightChange

BLOCKS, BLOCK_RANK = 4, 4  # of "block low rank": blocks per side, rank of each
RANK = 16  # of "global low rank"
EXPONENT = 1.0  # of "power-law spectrum": the j-th singular value is j**-EXPONENT

Shape: TypeAlias = tuple[int, int]  # (out, in)
Dice: TypeAlias = np.random.Generator


def weight_changes(
    names: Iterable[str] | None = None, *, shape: Shape = (128, 128), draws: int = 1, seed: int = 0
) -> tuple[WeightChange, ...]:
    """Random changes of W by the names of their shapes, each of Frobenius norm 1.

    Args:
        names: of SHAPES, all five by default: "Gaussian" (independent entries), "power-law spectrum" (singular values
            1, 1/2, 1/3, … in random directions), "global low rank" (a product of two Gaussian factors of rank 16),
            "block low rank" (4×4 blocks, each such a product of rank 4) and "permutation" (a single 1 in each row
            and column; where the sides differ, as many as the shorter one has).
        shape: (out, in); 4 must divide both, and neither may be below 16.
        draws: how many of each.
        seed: a name and a draw give the same matrix whatever else is asked for.

    Raises:
        ValueError: for a name, a shape or a count that does not fit.
    """
    if isinstance(names, str) or not isinstance(names, Iterable | None):
        raise refuse("names", names, f"must be a list of these: {', '.join(SHAPES)}")
    wanted = list(SHAPES) if names is None else list(names)
    for name in wanted:
        check_choice("names", name, SHAPES)
    whole = isinstance(shape, tuple | list) and len(shape) == 2 and all(isinstance(side, int) for side in shape)
    if not whole or any(side < RANK or side % BLOCKS for side in shape):
        raise refuse("shape", shape, f"must have two sides that {BLOCKS} divides, of at least {RANK}")
    check_positive_int("draws", draws)
    check_count("seed", seed)
    order = list(SHAPES)
    return tuple(
        weight_change(name, np.stack([_draw(name, shape, [seed, order.index(name), d]) for d in range(draws)]))
        for name in wanted
    )


def weight_change(name: str, matrices: np.ndarray, *, error: float | None = None, method: str = "") -> WeightChange:
    """A change of W as a record, its singular values beside it.

    Args:
        name: what it is called.
        matrices: one matrix (out, in), or draws of it (d, out, in).
        error: where it stands for another change, its relative distance from that.
        method: what made it, where an adapter did.

    Raises:
        ValueError: where `matrices` has another shape, is empty, or has an entry that is no finite number.
    """
    check_text("name", name)
    check_text("method", method)
    if error is not None:
        check_number("error", error)
        if error < 0:
            raise refuse("error", error, "must be a relative distance, at least 0")
    matrices = as_numbers("matrices", matrices)
    if matrices.ndim not in (2, 3) or not matrices.size or not np.isfinite(matrices).all():
        raise ValueError(f"`matrices` (of shape {matrices.shape}) must be finite, (out, in) or (draws, out, in)")
    matrices = matrices.reshape(-1, *matrices.shape[-2:])
    return WeightChange(name, matrices, np.linalg.svd(matrices, compute_uv=False), error, method)


def as_numbers(name: str, given: Any) -> np.ndarray:
    """In float64. ValueError for what holds anything but numbers."""
    try:
        return np.asarray(given, dtype=float)
    except (TypeError, ValueError) as error:
        shown = given if isinstance(given, str) else type(given).__name__
        raise refuse(name, shown, "must be an array of numbers, its rows the outputs") from error


def _draw(name: str, shape: Shape, seed: list[int]) -> np.ndarray:
    matrix = SHAPES[name](shape, np.random.default_rng(seed))
    return matrix / np.linalg.norm(matrix)


def _low_rank(shape: Shape, rank: int, dice: Dice) -> np.ndarray:
    return dice.standard_normal((shape[0], rank)) @ dice.standard_normal((rank, shape[1]))


def _power_law(shape: Shape, dice: Dice) -> np.ndarray:
    count = min(shape)
    left, right = (np.linalg.qr(dice.standard_normal((side, count)))[0] for side in shape)
    return (left * np.arange(1.0, count + 1) ** -EXPONENT) @ right.T


def _block_low_rank(shape: Shape, dice: Dice) -> np.ndarray:
    block = shape[0] // BLOCKS, shape[1] // BLOCKS
    return np.block([[_low_rank(block, BLOCK_RANK, dice) for _ in range(BLOCKS)] for _ in range(BLOCKS)])


def _permutation(shape: Shape, dice: Dice) -> np.ndarray:
    ones, matrix = min(shape), np.zeros(shape)
    matrix[dice.permutation(shape[0])[:ones], dice.permutation(shape[1])[:ones]] = 1.0
    return matrix


SHAPES: Mapping[str, Callable[[Shape, Dice], np.ndarray]] = MappingProxyType(
    {
        "Gaussian": lambda shape, dice: dice.standard_normal(shape),
        "power-law spectrum": _power_law,
        "global low rank": lambda shape, dice: _low_rank(shape, RANK, dice),
        "block low rank": _block_low_rank,
        "permutation": _permutation,
    }
)
