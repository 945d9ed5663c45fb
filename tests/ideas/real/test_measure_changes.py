"""A change taken apart, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from glora_lab.ideas.real.measure_changes import matrix_change
from glora_lab.measure import best_error, weight_changes


def with_spectrum(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    draw = np.random.default_rng(0)
    left, right = (np.linalg.qr(draw.standard_normal((side, len(values))))[0] for side in shape)
    return (left * values) @ right.T


def test_a_power_law_has_its_slope_and_its_energy() -> None:
    values = 3.0 * np.arange(1.0, 65.0) ** -0.5
    found = matrix_change("x", with_spectrum(values, (64, 128)))
    assert found.slope == pytest.approx(-0.5) and found.shape == (64, 128)
    assert found.values == pytest.approx(values / 3.0)
    energy = values**2 / (values**2).sum()
    assert found.energy == pytest.approx({n: energy[:n].sum() for n in (1, 8, 16, 32)})
    assert found.errors[1, 8] == pytest.approx(np.sqrt(energy[8:].sum()))
    assert found.order(8)[0] == 1


def test_errors_are_those_of_the_reach() -> None:
    (change,) = weight_changes(["block low rank"], shape=(64, 64))
    found = matrix_change("x", change.matrices[0], ranks=(16,))
    assert found.errors == {(k, 16): pytest.approx(best_error(change.matrices[0], k=k, r=16)) for k in (1, 2, 4, 8)}
    assert found.order(16)[0] == 4 and found.errors[4, 16] < 1e-6
    assert found.energy[32] <= 1.0 + 1e-12 and len(found.values) == 64


def test_none_is_refused() -> None:
    with pytest.raises(ValueError, match="must not be zero"):
        matrix_change("x", np.zeros((16, 16)))
