"""block_cut: the very tensors that train, laid out as LoRA's factors, and ΔW as their pieces make it."""

from __future__ import annotations

import numpy as np
import peft
import pytest
import torch
from torch import nn

from glora_lab.adapters import GloraConfig, GraloraConfig
from glora_lab.ideas.blocks.measure import cut
from glora_lab.ideas.blocks.measure_rank_by_k import LAYER, with_blocks
from glora_lab.measure import block_cut, block_grid
from tests.ideas.blocks.test_measure import OURS_AND_STOCK, adapted, layer_of


def pieces(made) -> tuple[np.ndarray, np.ndarray]:
    """B and A as [m, n]: (k, k, o, s) and (k, k, s, i)."""
    return cut(made.B, made.grid.k), cut(made.A, made.grid.k)


@OURS_AND_STOCK
@pytest.mark.parametrize("hybrid_r", [0, 3])
def test_piece_times_piece_is_the_block(config, hybrid_r):
    model = adapted(config, r=8, alpha=12, gralora_k=4, hybrid_r=hybrid_r)
    made, layer = block_cut(model, "0"), layer_of(model)
    b, a = pieces(made)
    own = layer.scaling["default"] * (b @ a)
    if hybrid_r:
        general = layer.gralora_B_general["default"].weight @ layer.gralora_A_general["default"].weight
        own += layer.scaling["default"] * cut(general.detach().numpy(), 4)
    np.testing.assert_allclose(own, cut(made.delta, 4), atol=1e-12)
    assert made.grid == block_grid(model, "0") and made.params == (8 + hybrid_r) * (24 + 48)
    assert made.B.size + made.A.size == 8 * (24 + 48)  # every number of the blocks' own is in the picture


def test_lora_is_not_cut():
    model = adapted(peft.LoraConfig, r=5)
    made = block_cut(model, "0")
    np.testing.assert_array_equal(made.B, layer_of(model).lora_B["default"].weight.detach())
    np.testing.assert_array_equal(made.A, layer_of(model).lora_A["default"].weight.detach())
    assert made.grid.k == 1 and made.params == 5 * 72


def test_random_examples_have_the_same_numbers_at_every_k():
    layer, made = nn.Linear(16, 32), {}
    for k in (1, 2, 4):
        config = GraloraConfig(r=4, gralora_k=k, init_weights=False)
        made[k] = block_cut(with_blocks(layer, config, seed=1), LAYER)
    for k in (2, 4):
        np.testing.assert_array_equal(made[k].B, made[1].B)  # cut, and nothing else
        np.testing.assert_array_equal(made[k].A, made[1].A)
    assert [cutting.grid.rank for cutting in made.values()] == [4, 8, 16]
    assert len({cutting.params for cutting in made.values()}) == 1


def test_of_a_large_layer_a_sample_is_kept_as_many_of_each_block():
    model = adapted(GraloraConfig, (320, 200), torch.float, r=8, gralora_k=4)
    made = block_cut(model, "0")
    assert (made.B.shape, made.A.shape, made.delta.shape) == ((128, 8), (8, 128), (128, 128))
    assert made.grid.shape == (200, 320)
    b, a = pieces(made)
    np.testing.assert_allclose(
        layer_of(model).scaling["default"] * (b @ a), cut(made.delta, 4), atol=1e-6
    )  # of the same channels


def test_it_refuses_what_has_no_factors():
    with pytest.raises(ValueError, match="no product of factors"):
        block_cut(adapted(GloraConfig, r=2), "0")
    with pytest.raises(ValueError, match="`layer`"):
        block_cut(adapted(GraloraConfig, r=2), "nowhere")


def test_a_record_shows_itself():
    (row,) = block_cut(adapted(GraloraConfig, r=8, gralora_k=2), "0").to_dicts()
    assert (row["rank"], row["B"], row["params"]) == (16, "array (48, 8)", 8 * 72)
