"""best_error and rank_reach: the least error there is, against a search, against theorems, against training."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import get_peft_model

from glora_lab.adapters import GraloraConfig
from glora_lab.adapters.view import delta_matrix
from glora_lab.ideas.blocks.measure import cut
from glora_lab.measure import (
    best_change,
    best_changes,
    best_error,
    rank_reach,
    trained_error,
    weight_change,
    weight_changes,
)

KS = (1, 2, 4, 8)
# FACTS: what 128×128 and r = 16 come to, and how far a mean of five draws may be from it
EXPECTED = {
    "Gaussian": (0.788, 0.788, 0.786, 0.786),
    "power-law spectrum": (0.18, 0.24, 0.32, 0.42),
    "global low rank": (0.0, 0.47, 0.61, 0.68),
    "block low rank": (0.61, 0.46, 0.0, 0.46),
    "permutation": (0.94, 0.87, 0.71, 0.49),
}
matrices = st.builds(
    lambda seed, o, i, tail: np.random.default_rng(seed).standard_normal((8 * o, 8 * i)) ** tail,
    st.integers(0, 10**6),
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from([1, 3]),  # a few large entries make a spectrum that falls
)
some_k = st.sampled_from(KS)


def eckart_young(matrix, r):
    """Without a singular value decomposition: eigenvalues of M Mᵀ, smallest first."""
    squares = np.linalg.eigvalsh(matrix @ matrix.T)
    return np.sqrt(max(squares[: max(len(matrix) - r, 0)].sum(), 0) / squares.sum())


@given(matrices, st.integers(1, 8))
def test_one_block_is_eckart_young(matrix, r):
    assert best_error(matrix, k=1, r=r) == pytest.approx(eckart_young(matrix, r), abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_a_search_over_all_directions_finds_nothing_better(seed):
    matrix = np.random.default_rng(seed).standard_normal((4, 4))
    angles = np.linspace(0, np.pi, 20_001)
    directions = np.stack([np.cos(angles), np.sin(angles)])  # every v that a block u vᵀ of 2×2 can have
    kept = sum((np.linalg.norm(block @ directions, axis=0) ** 2).max() for block in cut(matrix, 2).reshape(4, 2, 2))
    searched = np.sqrt(1 - kept / (matrix**2).sum())
    assert best_error(matrix, k=2, r=2) == pytest.approx(searched, abs=1e-6)


@given(matrices, some_k, st.integers(1, 4))
def test_the_best_change_is_one_that_the_blocks_can_make_and_has_that_error(matrix, k, s):
    best = best_change(matrix, k=k, r=k * s)
    ranks = np.linalg.matrix_rank(cut(best, k))
    assert best.shape == matrix.shape and ranks.max() <= s
    off = np.linalg.norm(matrix - best) / np.linalg.norm(matrix)
    assert best_error(matrix, k=k, r=k * s) == pytest.approx(off, abs=1e-9)


@given(matrices, some_k)
def test_errors_lie_between_0_and_1_and_fall_with_rank(matrix, k):
    errors = [best_error(matrix, k=k, r=k * s) for s in range(1, 26)]
    assert all(0 <= error <= 1 for error in errors) and errors[-1] == 0
    assert all(before >= after - 1e-12 for before, after in pairwise(errors))


@given(matrices, some_k, st.integers(1, 4))
def test_neither_grid_is_the_stronger_one(matrix, k, s):
    r = k * s
    blocks, lora = best_error(matrix, k=k, r=r), best_error(matrix, k=1, r=r)
    assert best_error(matrix, k=1, r=k * r) <= blocks + 1e-9  # rank(ΔW) is at most k·r
    assert best_error(matrix, k=k, r=k * r) <= lora + 1e-9  # each block of a rank-r matrix has at most rank r


@given(matrices, some_k, st.floats(0.01, 100))
def test_neither_size_nor_transposing_nor_moving_whole_blocks_matters(matrix, k, size):
    error = best_error(matrix, k=k, r=8)
    moved = np.concatenate(np.array_split(matrix, k)[::-1])
    for same in (size * matrix, matrix.T, moved):
        assert best_error(same, k=k, r=8) == pytest.approx(error, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_what_a_real_layer_makes_is_reached_at_its_own_k_alone(k):
    config = GraloraConfig(r=4, gralora_k=k, target_modules=["0"], init_weights=False)
    model = get_peft_model(torch.nn.Sequential(torch.nn.Linear(16, 32).double()), config)
    delta = delta_matrix(model.base_model.model[0]).detach().numpy()
    assert best_error(delta, k=k, r=4) < 1e-9
    assert min(best_error(delta, k=other, r=4) for other in {1, 2, 4} - {k}) > 0.1


@pytest.fixture(scope="module")
def five():
    return rank_reach(weight_changes(draws=5))


@pytest.mark.parametrize("name", EXPECTED)
def test_the_figures_of_the_five_shapes(five, name):
    tolerance = 0.03 if name == "permutation" else 0.015  # permutations at k = 8 spread by .03
    np.testing.assert_allclose(list(five.errors(name).values()), EXPECTED[name], atol=tolerance)


def test_who_wins_at_equal_parameters(five):
    assert [five.best(name) for name in EXPECTED] == [None, 1, 1, 4, 8]
    assert {row.params for row in five.rows} == {16 * 256} and {row.r for row in five.rows} == {16}
    assert five.ranks("Gaussian") == {1: 16, 2: 32, 4: 64, 8: 128}
    assert five.errors("global low rank")[1] < 1e-7 and five.errors("block low rank")[4] < 1e-7
    assert five.ks == [1, 2, 4, 8]
    assert len(five.rows) == 5 * 5 * 4 and {row.draw for row in five.rows} == set(range(5))


def test_a_permutation_keeps_the_directions_that_are_left_over():
    reach = rank_reach(weight_changes(["permutation"]))
    assert reach.ranks("permutation")[8] < 128  # in a block with fewer ones than r/k there is nothing more to have
    for k in (1, 2):
        assert reach.errors("permutation")[k] == pytest.approx(np.sqrt(1 - k * 16 / 128), abs=1e-9)


def test_rows_are_of_their_own_matrix_and_parameters_of_its_sides():
    wide = weight_change("wide", np.random.default_rng(0).standard_normal((2, 16, 48)))
    reach = rank_reach(wide, r=4, ks=(1, 4))
    assert [(row.draw, row.k, row.params) for row in reach.rows] == [
        (draw, k, 4 * (16 + 48)) for draw in (0, 1) for k in (1, 4)
    ]
    for row in reach.rows:
        assert row.error == best_error(wide.matrices[row.draw], k=row.k, r=4) and row.trained is None


def test_the_best_changes_stand_beside_what_is_wanted():
    (change,) = weight_changes(["block low rank"], draws=2)
    wanted, *best = best_changes(change, r=16, ks=(1, 4))
    assert wanted.error is None and wanted.name == change.name
    np.testing.assert_array_equal(wanted.matrices, change.matrices[:1])
    assert [(b.name, b.rank) for b in best] == [("k = 1", 16), ("k = 4", 64)]
    assert best[0].error == best_error(change.matrices[0], k=1, r=16)
    np.testing.assert_array_equal(best[0].matrices[0], best_change(change.matrices[0], k=1, r=16))


def test_training_reaches_the_least_error_and_never_less():
    reach = rank_reach(weight_changes(shape=(32, 32)), r=8, steps=250)
    for row in reach.rows:
        assert row.error - 1e-6 < row.trained < row.error + 0.005
    assert reach.training_gap < 0.005


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"k": 3, "r": 6}, r"`k` \(=3\) must divide r \(=6\) and both sides of the change \(8, 16\); k that fit: 1, 2"),
        ({"k": 4, "r": 6}, r"`k` \(=4\) must divide r \(=6\)"),
        ({"k": 0, "r": 4}, r"`k` \(=0\)"),
        ({"k": 1, "r": 0}, r"`r` \(=0\)"),
    ],
)
@pytest.mark.parametrize("measure", [best_error, best_change])
def test_what_does_not_fit_is_refused(measure, settings, says):
    with pytest.raises(ValueError, match=says):
        measure(np.ones((8, 16)), **settings)


def test_nothing_and_no_matrix_are_refused():
    with pytest.raises(ValueError, match="`change` must not be zero"):
        best_error(np.zeros((4, 4)), k=1, r=1)
    with pytest.raises(ValueError, match=r"`change` \(of shape \(4,\)\) must be a matrix"):
        best_error(np.ones(4), k=1, r=1)
    with pytest.raises(ValueError, match=r"`steps` \(=-1\)"):
        rank_reach(weight_changes(shape=(16, 16)), steps=-1)
    with pytest.raises(ValueError, match="that is not zero"):
        trained_error(np.zeros((4, 4)), GraloraConfig(r=2))
