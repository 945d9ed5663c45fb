"""weight_changes: each shape is what its name says, of norm 1, and comes again from its seed."""

from __future__ import annotations

import numpy as np
import pytest

from glora_lab.ideas.blocks.measure import cut
from glora_lab.ideas.reach.measure_weight_changes import SHAPES
from glora_lab.measure import weight_change, weight_changes

SIZES = pytest.mark.parametrize("shape", [(128, 128), (32, 48), (48, 32)])


def one(name, **settings):
    (change,) = weight_changes([name], **settings)
    return change


@SIZES
def test_all_are_of_one_size_and_of_the_shape_that_was_asked_for(shape):
    changes = weight_changes(shape=shape, draws=2)
    assert [change.name for change in changes] == list(SHAPES) and len(changes) == 5
    for change in changes:
        assert change.matrices.shape == (2, *shape) and change.shape == shape and change.error is None
        np.testing.assert_allclose(np.linalg.norm(change.matrices, axis=(1, 2)), 1, rtol=1e-12)
        np.testing.assert_allclose(change.singular_values, np.linalg.svd(change.matrices, compute_uv=False))
        assert not np.allclose(*change.matrices)  # two draws


def test_a_gaussian_has_independent_entries():
    matrix = one("Gaussian").matrices[0] * 128
    assert abs(matrix.mean()) < 0.03 and matrix.std() == pytest.approx(1, abs=0.03)
    assert (np.abs(matrix) < 1).mean() == pytest.approx(0.683, abs=0.02)
    assert np.abs(np.corrcoef(matrix) - np.eye(128)).max() < 0.5


@SIZES
def test_a_power_law_falls_as_one_over_its_number(shape):
    values = one("power-law spectrum", shape=shape).singular_values[0]
    np.testing.assert_allclose(values / values[0], 1 / np.arange(1, min(shape) + 1), rtol=1e-10)


@SIZES
def test_global_low_rank_has_rank_16_in_the_whole_and_in_large_blocks(shape):
    matrix = one("global low rank", shape=shape).matrices[0]
    assert np.linalg.matrix_rank(matrix) == 16
    assert (np.linalg.matrix_rank(cut(matrix, 2)) == min(16, min(shape) // 2)).all()


@SIZES
def test_block_low_rank_has_rank_4_in_each_of_16_blocks_and_16_times_as_much_in_all(shape):
    matrix = one("block low rank", shape=shape).matrices[0]
    blocks = cut(matrix, 4)
    assert (np.linalg.matrix_rank(blocks) == 4).all()
    assert np.linalg.matrix_rank(matrix) == min(4 * 4 * 4, *shape)
    assert np.unique(np.linalg.norm(blocks, axis=(2, 3))).size == 16  # no block is a copy


@SIZES
def test_a_permutation_has_one_entry_in_each_row_and_column(shape):
    matrix = one("permutation", shape=shape).matrices[0] > 0
    for axis, side in ((1, shape[0]), (0, shape[1])):
        counts = matrix.sum(axis=axis)
        assert counts.max() == 1 and counts.sum() == min(shape) and len(counts) == side
    rows, columns = np.nonzero(matrix)
    assert (rows != columns).any()


def test_a_seed_gives_the_same_whatever_else_is_asked_for():
    all_of_them, alone = weight_changes(seed=3, draws=2), one("permutation", seed=3)
    np.testing.assert_array_equal(all_of_them[4].matrices[:1], alone.matrices)
    assert one("Gaussian", seed=3) == all_of_them[0].__class__(
        "Gaussian", all_of_them[0].matrices[:1], all_of_them[0].singular_values[:1]
    )
    assert one("Gaussian", seed=3) != one("Gaussian", seed=4)
    state = np.random.get_state()[1].copy()
    weight_changes()
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # the global dice are the reader's


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"names": ["gaussian"]}, r"`names` \(='gaussian'\) must be one of 'Gaussian'"),
        ({"shape": (128, 30)}, r"`shape` \(=\(128, 30\)\) must have two sides that 4 divides, of at least 16"),
        ({"shape": (12, 128)}, r"`shape` \(=\(12, 128\)\)"),
        ({"draws": 0}, r"`draws` \(=0\)"),
        ({"seed": -1}, r"`seed` \(=-1\)"),
    ],
)
def test_what_does_not_fit_is_refused(settings, says):
    with pytest.raises(ValueError, match=says):
        weight_changes(**settings)


def test_a_matrix_of_ones_own():
    matrix = np.diag([3.0, 0.0, 2.0])[:2]
    change = weight_change("mine", matrix, error=0.5)
    assert change.matrices.tolist() == [matrix.tolist()] and change.singular_values.tolist() == [[3, 0]]
    assert (change.rank, change.error, change.shape) == (1, 0.5, (2, 3))
    assert weight_change("mine", np.zeros((4, 2, 3))).rank == 0
    for bad in (np.ones(3), np.ones((0, 3)), np.full((2, 2), np.nan)):
        with pytest.raises(ValueError, match=r"`matrices` \(of shape \(.*\)\) must be finite, \(out, in\)"):
            weight_change("bad", bad)
