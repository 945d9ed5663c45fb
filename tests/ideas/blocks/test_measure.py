"""block_grid: the blocks are those of ΔW, their ranks r/k, the whole's k·r."""

from __future__ import annotations

import numpy as np
import peft
import pytest
import torch
from torch import nn

from glora_lab.adapters import GloraConfig, GraloraConfig
from glora_lab.adapters.view import delta_matrix, factor_pairs
from glora_lab.measure import block_grid

OURS_AND_STOCK = pytest.mark.parametrize("config", [GraloraConfig, peft.GraloraConfig])


def adapted(config, shape=(24, 48), dtype=torch.double, **settings):
    settings = {"init_lora_weights" if config is peft.LoraConfig else "init_weights": False, **settings}
    model = nn.Sequential(nn.Linear(*shape), nn.Tanh(), nn.Linear(*shape[::-1])).to(dtype)
    return peft.get_peft_model(model, config(target_modules=["0"], **settings))


def layer_of(model):
    return model.base_model.model[0]


@OURS_AND_STOCK
def test_each_block_is_the_product_of_its_own_factors(config):
    model = adapted(config, r=8, alpha=12, gralora_k=4)
    grid, found = block_grid(model, "0"), factor_pairs(layer_of(model))
    norms = (found.scaling * found.B @ found.A.mT).norm(dim=(-2, -1)).detach().numpy()
    assert norms.shape == (4, 4) and np.abs(norms - norms.T).max() > 1e-3  # or m and n could be swapped unseen
    np.testing.assert_allclose(grid.norms, norms, rtol=1e-12)
    np.testing.assert_allclose(grid.energy, norms**2 / (norms**2).sum(), rtol=1e-12)
    assert (grid.layer, grid.k, grid.r, grid.hybrid_r, grid.shape) == ("0", 4, 8, 0, (48, 24))


@OURS_AND_STOCK
@pytest.mark.parametrize("k", [1, 2, 4, 8])
def test_ranks_are_those_of_the_paper(config, k):
    grid = block_grid(adapted(config, (128, 128), r=16, gralora_k=k), "0")
    assert (grid.ranks == 16 // k).all() and grid.rank == 16 * k  # FACTS §2.3: 16/32/64/128


@OURS_AND_STOCK
def test_a_hybrid_counts_in_every_block_and_in_the_whole(config):
    model = adapted(config, (64, 128), r=8, gralora_k=4, hybrid_r=3)
    grid, delta = block_grid(model, "0"), delta_matrix(layer_of(model)).detach()
    assert (grid.ranks == 8 // 4 + 3).all() and grid.rank == 8 * 4 + 3 and grid.hybrid_r == 3
    assert grid.norms[1, 2] == pytest.approx(delta[32:64, 32:48].norm().item(), rel=1e-12)
    assert np.sqrt((grid.norms**2).sum()) == pytest.approx(delta.norm().item(), rel=1e-12)
    large = block_grid(
        adapted(config, (128, 128), r=8, gralora_k=4, hybrid_r=12), "0"
    )  # more than the sketch has spare
    assert (large.ranks == 8 // 4 + 12).all() and large.rank == 8 * 4 + 12


def test_lora_is_one_block():
    model = adapted(peft.LoraConfig, r=5)
    grid = block_grid(model, "0")
    assert (grid.k, grid.rank, grid.ranks.tolist(), grid.energy.tolist()) == (1, 5, [[5]], [[1.0]])
    assert grid.norms[0, 0] == pytest.approx(delta_matrix(layer_of(model)).norm().item())


@pytest.mark.parametrize(
    "config, settings",
    [
        (GloraConfig, {"r": 2}),
        (peft.GloraConfig, {"r": 2}),
        (peft.LoraConfig, {"r": 2, "use_dora": True, "init_lora_weights": True}),
    ],
)
def test_a_term_that_multiplies_w0_has_more_rank_than_r(config, settings):
    model = adapted(config, **settings)
    if config is peft.LoraConfig:
        layer_of(model).lora_magnitude_vector["default"].weight.data.mul_(torch.linspace(1, 2, 48))
    grid = block_grid(model, "0")
    assert grid.rank == np.linalg.matrix_rank(delta_matrix(layer_of(model)).detach().numpy()) == 24 > grid.r + 1


def test_the_rank_of_a_large_layer_is_found_from_a_sketch_or_not_asked():
    grid = block_grid(adapted(GraloraConfig, (1200, 1100), torch.float32, r=4, gralora_k=2), "0")
    assert (grid.ranks == 2).all() and grid.rank == 8
    grid = block_grid(adapted(GloraConfig, (1200, 1100), torch.float32, r=1), "0")
    assert grid.rank is None and grid.ranks.tolist() == [[-1]]


def test_a_fresh_adapter_is_zero_everywhere():
    grid = block_grid(adapted(GraloraConfig, r=8, gralora_k=2, init_weights=True), "0")
    assert grid.rank == 0 and not grid.norms.any() and not grid.ranks.any() and not grid.energy.any()


def test_an_adapter_is_chosen_by_name():
    model = adapted(GraloraConfig, r=8, gralora_k=2)
    model.add_adapter("other", GraloraConfig(r=8, gralora_k=4, target_modules=["0"], init_weights=False))
    assert block_grid(model, "0").k == 2 and block_grid(model, "0", "other").k == 4
    with pytest.raises(ValueError, match=r"`adapter_name` \(='third'\).*default, other"):
        block_grid(model, "0", "third")
    with pytest.raises(ValueError, match=r"`layer` \(='2'\) is no adapted layer"):
        block_grid(model, "2")
