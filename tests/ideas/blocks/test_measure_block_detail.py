"""block_detail: a block is the product of its factors, and the same block that the grid and ΔW have."""

from __future__ import annotations

import copy

import numpy as np
import peft
import pytest
import torch
from torch import nn

from glora_lab.adapters import GloraConfig, GraloraConfig
from glora_lab.adapters.view import delta_matrix, factor_pairs, has_factors
from glora_lab.measure import block_detail, block_grid

OURS_AND_STOCK = pytest.mark.parametrize("config", [GraloraConfig, peft.GraloraConfig])


def adapted(config, shape=(24, 48), **settings):
    settings = {"init_lora_weights" if config is peft.LoraConfig else "init_weights": False, **settings}
    model = nn.Sequential(nn.Linear(*shape), nn.Tanh(), nn.Linear(*shape[::-1])).double()
    return peft.get_peft_model(model, config(target_modules=["0"], **settings))


def layer_of(model):
    return model.base_model.model[0]


def same_as_delta(model, k, **where):
    """Every block beside its place in ΔW, its numbers beside a decomposition of that, and beside the grid's."""
    delta, grid = delta_matrix(layer_of(model)).detach().numpy(), block_grid(model, "0")
    rows, columns = delta.shape[0] // k, delta.shape[1] // k
    for m in range(k):
        for n in range(k):
            detail = block_detail(model, "0", m, n)
            assert (list(detail.writes), list(detail.reads)) == (
                list(range(m * rows, (m + 1) * rows)),
                list(range(n * columns, (n + 1) * columns)),
            )
            cut = delta[np.ix_(detail.writes, detail.reads)]
            np.testing.assert_allclose(detail.block, cut, rtol=1e-10, atol=1e-15)
            np.testing.assert_allclose(detail.scaling * detail.B @ detail.A.T, cut, rtol=1e-10, atol=1e-15)
            values = np.linalg.svd(cut, compute_uv=False)
            count = len(detail.singular_values)
            np.testing.assert_allclose(detail.singular_values, values[:count], rtol=1e-9)
            assert values[count:].max(initial=0) < 1e-13 and count == min(*cut.shape, detail.B.shape[1])
            assert detail.rank == grid.ranks[m, n] == np.linalg.matrix_rank(cut)
            assert detail.norm == pytest.approx(grid.norms[m, n], rel=1e-12)
            assert detail.energy == pytest.approx(grid.energy[m, n], rel=1e-10)
            assert (detail.layer, detail.m, detail.n, detail.k) == ("0", m, n, k)


@OURS_AND_STOCK
@pytest.mark.parametrize("k", [1, 2, 4])
def test_each_block_is_the_grids_and_that_of_delta(config, k):
    model = adapted(config, r=8, alpha=12, gralora_k=k)
    same_as_delta(model, k)
    detail, found = block_detail(model, "0", k - 1, 0), factor_pairs(layer_of(model))
    assert detail.B.shape == (48 // k, 8 // k) and detail.A.shape == (24 // k, 8 // k) and detail.scaling == 12 / 8
    np.testing.assert_array_equal(detail.B, found.B[k - 1, 0].detach())  # as they train: the scaling is apart
    np.testing.assert_array_equal(detail.A, found.A[k - 1, 0].detach())


@OURS_AND_STOCK
@pytest.mark.parametrize("r, hybrid_r", [(8, 3), (8, 12)])
def test_a_hybrids_lora_is_more_columns_of_both_factors(config, r, hybrid_r):
    model = adapted(config, r=r, gralora_k=4, hybrid_r=hybrid_r)
    same_as_delta(model, 4)  # for 12, more columns than a block has rows
    details = {(m, n): block_detail(model, "0", m, n) for m in (1, 2) for n in (0, 3)}
    assert all(detail.hybrid_r == hybrid_r and detail.B.shape[1] == 2 + hybrid_r for detail in details.values())
    np.testing.assert_array_equal(details[1, 0].B[:, -hybrid_r:], details[1, 3].B[:, -hybrid_r:])
    np.testing.assert_array_equal(details[1, 0].A[:, -hybrid_r:], details[2, 0].A[:, -hybrid_r:])
    own = factor_pairs(layer_of(model))
    np.testing.assert_array_equal(details[2, 3].B[:, :2], own.B[2, 3, :, :2].detach())
    np.testing.assert_array_equal(details[2, 3].A[:, :2], own.A[2, 3, :, :2].detach())


def test_lora_is_one_block():
    model = adapted(peft.LoraConfig, r=5, lora_alpha=7)
    same_as_delta(model, 1)
    detail = block_detail(model, "0", 0, 0)
    assert (detail.k, detail.rank, detail.energy, detail.hybrid_r) == (1, 5, 1.0, 0)
    assert detail.B.shape == (48, 5) and detail.A.shape == (24, 5)


def test_a_record_stays_what_it_was_while_the_layer_trains():
    model = adapted(GraloraConfig, r=8, gralora_k=2)
    before = block_detail(model, "0", 1, 0)
    kept = copy.deepcopy(before)
    with torch.no_grad():
        for parameter in layer_of(model).parameters():
            parameter.add_(1)
    assert before == kept != block_detail(model, "0", 1, 0)


def test_a_fresh_block_is_zero():
    detail = block_detail(adapted(GraloraConfig, r=8, gralora_k=2, init_weights=True), "0", 1, 1)
    assert (detail.rank, detail.norm, detail.energy) == (0, 0.0, 0.0)
    assert detail.A.any() and not detail.B.any() and not detail.singular_values.any()


def test_an_adapter_is_chosen_by_name():
    model = adapted(GraloraConfig, r=8, gralora_k=2)
    model.add_adapter("other", GraloraConfig(r=8, gralora_k=4, target_modules=["0"], init_weights=False))
    assert block_detail(model, "0", 1, 1).k == 2 and block_detail(model, "0", 3, 3, "other").k == 4
    with pytest.raises(ValueError, match=r"`adapter_name` \(='third'\).*default, other"):
        block_detail(model, "0", 0, 0, "third")


@pytest.mark.parametrize("wrong", [{"m": 4}, {"n": -1}, {"m": True}, {"n": 1.0}])
def test_a_block_that_is_not_there_is_refused(wrong):
    model = adapted(GraloraConfig, r=8, gralora_k=4)
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=rf"`{name}` \(={value}\) must be an integer from 0 to 3: 0 has 4 blocks"):
        block_detail(model, "0", **{"m": 0, "n": 0, **wrong})


@pytest.mark.parametrize(
    "config, settings, says",
    [
        (GloraConfig, {}, "carries GLoRA whose ΔW is no product of factors"),
        (peft.GloraConfig, {}, "carries GLoRA whose ΔW is no product of factors"),
        (peft.LoraConfig, {"use_dora": True, "init_lora_weights": True}, "is a DoRA"),
    ],
)
def test_what_is_no_product_of_factors_is_refused(config, settings, says):
    model = adapted(config, r=2, **settings)
    assert not has_factors(layer_of(model), "default")
    with pytest.raises(ValueError, match=says):
        block_detail(model, "0", 0, 0)


@pytest.mark.parametrize("config", [GraloraConfig, peft.GraloraConfig, peft.LoraConfig])
def test_what_has_factors_says_so(config):
    layer = layer_of(adapted(config, r=4))
    assert has_factors(layer, "default") is True and has_factors(layer, "other") is False
    assert factor_pairs(layer).B.dtype == torch.float64
    assert not has_factors(nn.Linear(2, 2), "default")


def test_other_loras_have_no_factors_to_show():
    table = nn.Sequential(nn.Embedding(5, 4))
    model = peft.get_peft_model(table, peft.LoraConfig(r=2, target_modules=["0"]))
    assert not has_factors(layer_of(model), "default")
    picture = nn.Sequential(nn.Conv2d(3, 4, 3))
    model = peft.get_peft_model(picture, peft.LoraConfig(r=2, target_modules=["0"]))
    assert not has_factors(layer_of(model), "default")
