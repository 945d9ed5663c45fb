"""trained_error: any adapter, trained towards a change, on a layer that is nothing but the adapter."""

from __future__ import annotations

import numpy as np
import peft
import pytest
import torch
from peft import LoraConfig

from glora_lab.adapters import GloraConfig, GraloraConfig
from glora_lab.measure import best_error, trained_error, weight_changes


@pytest.fixture(scope="module")
def change():
    (found,) = weight_changes(["power-law spectrum"], shape=(32, 48))
    return found.matrices[0]


@pytest.mark.parametrize(
    "config, k",
    [
        (LoraConfig(r=8), 1),
        (GraloraConfig(r=8, gralora_k=1, alpha=8), 1),
        (GraloraConfig(r=8, gralora_k=4, alpha=8), 4),
        (peft.GraloraConfig(r=8, gralora_k=4, alpha=8), 4),
        (GloraConfig.only(B="lora", r=8), 1),
    ],
)
def test_every_adapter_reaches_the_best_of_its_kind(change, config, k):
    best = best_error(change, k=k, r=8)
    assert best - 1e-6 < trained_error(change, config) < best + 0.005


def test_a_hybrid_reaches_what_neither_of_its_parts_does():
    block, whole = (found.matrices[0] for found in weight_changes(["block low rank", "global low rank"], seed=1))
    mixed = block + whole
    hybrid = trained_error(mixed, GraloraConfig(r=8, hybrid_r=8, gralora_k=4, alpha=16))
    assert hybrid < min(best_error(mixed, k=1, r=16), best_error(mixed, k=4, r=16)) - 0.05


def test_the_error_is_relative_and_few_steps_leave_more_of_it(change):
    config = GraloraConfig(r=8, gralora_k=2, alpha=8)
    assert trained_error(1000 * change, config) == pytest.approx(trained_error(change, config), rel=1e-6)
    assert trained_error(change, config, steps=3) > 1.2 * trained_error(change, config)
    assert trained_error(change, config, steps=1, lr=1e-9) == pytest.approx(1, abs=1e-5)


def test_a_seed_gives_the_same_and_leaves_config_and_dice_alone(change):
    config, state = GraloraConfig(r=8, gralora_k=2, alpha=8, target_modules=["mine"]), torch.get_rng_state()
    first, again, other = (trained_error(change, config, steps=5, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert config.target_modules == {"mine"} and torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("settings", [{"steps": 0}, {"lr": 0.0}, {"seed": -1}])
def test_what_cannot_work_is_refused(change, settings):
    (name,) = settings
    with pytest.raises(ValueError, match=rf"`{name}` \(="):
        trained_error(change, LoraConfig(r=2), **settings)
    with pytest.raises(ValueError, match=r"`change` \(of shape \(3,\)\) must be a matrix"):
        trained_error(np.ones(3), LoraConfig(r=2))
