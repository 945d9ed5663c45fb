"""A change of one weight taken apart: its spectrum, and how near each grid of blocks comes at equal parameters."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from glora_lab.ideas.reach.measure import Nearest
from glora_lab.ideas.reach.measure_weight_changes import weight_change

from .record_changes import SHARES, MatrixChange

KEPT = 64  # singular values: those that are stored, and that the slope is taken of


def matrix_change(
    layer: str, change: np.ndarray, *, ks: Iterable[int] = (1, 2, 4, 8), ranks: Iterable[int] = (8, 16, 32)
) -> MatrixChange:
    """Of ΔW (out, in), what `MatrixChange` says; the slope is a least-squares line through the first 64 points.

    Raises:
        ValueError: where k does not divide both sides and r, or the change is zero or not finite.
    """
    nearest, ks, ranks = Nearest(change), tuple(ks), tuple(ranks)
    errors = {(k, r): nearest.error(k, r) for k in ks for r in ranks}
    values = weight_change(layer, change).singular_values[0]
    energy = np.cumsum(values**2) / np.sum(values**2)
    kept = values[:KEPT] / values[0]
    places = np.log(np.arange(1, len(kept) + 1))
    slope = float(np.polyfit(places, np.log(np.maximum(kept, np.finfo(float).tiny)), 1)[0])
    shares = {n: float(energy[min(n, len(energy)) - 1]) for n in SHARES}
    return MatrixChange(layer, (change.shape[0], change.shape[1]), tuple(map(float, kept)), shares, slope, errors)
