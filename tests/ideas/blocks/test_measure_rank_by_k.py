"""rank_by_k: FACTS' ranks come out of real layers, with LoRA's parameters, and nothing else is touched."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from glora_lab.adapters import GraloraConfig
from glora_lab.ideas.blocks.measure_rank_by_k import LAYER, rank_by_k, with_blocks
from glora_lab.records import RankAtK
from tests.adapters.small_models import conv1d


def test_the_ranks_are_the_papers_and_the_parameters_loras():
    rows = rank_by_k(nn.Linear(128, 128), GraloraConfig(r=16, gralora_k=4))
    assert rows == [RankAtK(k, min(16 * k, 128), 16 * 256) for k in (1, 2, 4, 8, 16)]


@pytest.mark.parametrize("layer", [nn.Linear(24, 36), conv1d(24, 36)])
def test_every_k_that_divides_features_and_rank_has_a_row(layer):
    rows = rank_by_k(layer, GraloraConfig(r=12, gralora_k=1))
    assert [row.k for row in rows] == [1, 2, 3, 4, 6, 12]
    assert [row.rank for row in rows] == [12, 24, 24, 24, 24, 24] and {row.params for row in rows} == {12 * 60}


def test_a_hybrid_adds_its_own_rank_and_parameters():
    rows = rank_by_k(nn.Linear(128, 64), GraloraConfig(r=8, gralora_k=2, hybrid_r=3))
    assert [(row.rank, row.params) for row in rows] == [(8 * k + 3 if k < 8 else 64, 11 * 192) for k in (1, 2, 4, 8)]


def test_layer_and_random_numbers_are_left_as_they_were():
    layer, state = nn.Linear(16, 16), torch.get_rng_state()
    weight = layer.weight.detach().clone()
    rank_by_k(layer, GraloraConfig(r=4, gralora_k=2))
    assert torch.equal(torch.get_rng_state(), state) and torch.equal(layer.weight, weight)
    assert layer.weight.requires_grad and type(layer) is nn.Linear


def test_the_seed_makes_the_values():
    layer, config = nn.Linear(16, 16), GraloraConfig(r=4, gralora_k=2, init_weights=False)
    one, again, other = (with_blocks(layer, config, seed=seed)[LAYER].gralora_B["default"] for seed in (1, 1, 2))
    assert torch.equal(one, again) and not torch.equal(one, other)
