"""stock_twin.py: the same adapter in either library, to the bit in its tensors and to rounding in its output."""

from __future__ import annotations

import peft
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from glora_lab.adapters import GloraConfig, GraloraConfig
from glora_lab.adapters.stock.twin import lab_twin, stock_twin
from glora_lab.adapters.tuner.layer import LabLayer
from glora_lab.adapters.view import adapted_layers

SAID_TWICE = [
    (GloraConfig, {"r": 2, "config_C": "vector", "config_D_E": "vector"}),
    (GloraConfig, {"r": 2, "config_A_B": "none", "rank_pattern": {"first": 3}}),
    (
        GloraConfig,
        {"config_A_B": "constant", "config_C": "none", "path_pattern": {"first": {"A": "lora", "B": "lora"}}},
    ),
    (GraloraConfig, {"r": 4, "gralora_k": 2, "alpha": 8, "k_pattern": {"first": 4}}),
    (GraloraConfig, {"r": 4, "gralora_k": 2, "hybrid_r": 2}),
]


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 12), nn.Linear(12, 8)


def adapted(config):
    model = get_peft_model(Tiny().double(), config, adapter_name="mine")
    return config, adapted_layers(model)


@pytest.mark.parametrize("kind, settings", SAID_TWICE)
def test_ours_becomes_stocks_and_ours_again(kind, settings):
    """Patterns are settled: each layer's twin has what this layer has."""
    config, layers = adapted(kind(target_modules=["first", "second"], init_weights=False, **settings))
    for layer in layers.values():
        x = torch.randn(5, layer.in_features, dtype=torch.float64)
        theirs = stock_twin(layer, config, "mine")
        assert not isinstance(theirs, LabLayer) and type(theirs).__module__.startswith("peft.tuners")
        torch.testing.assert_close(theirs(x), layer(x), rtol=0, atol=1e-12)
        copied = lab_twin(layer, config, "mine")
        assert type(copied) is type(layer) and torch.equal(copied(x), layer(x))
        theirs.merge()
        copied.merge()
        torch.testing.assert_close(theirs(x), copied(x), rtol=0, atol=1e-12)
        assert not layer.merged


@pytest.mark.parametrize("config", [
    peft.GloraConfig(r=2, config_D_E="vector", init_weights=False),
    peft.GraloraConfig(r=4, gralora_k=2, hybrid_r=2, init_weights=False),
])  # fmt: skip
def test_stocks_becomes_ours(config):
    config.target_modules = {"first"}
    config, layers = adapted(config)
    layer = layers["first"]
    x = torch.randn(5, 8, dtype=torch.float64)
    ours, theirs = lab_twin(layer, config, "mine"), stock_twin(layer, config, "mine")
    assert isinstance(ours, LabLayer) and type(theirs) is type(layer) and theirs is not layer
    torch.testing.assert_close(ours(x), layer(x), rtol=0, atol=1e-12)
    theirs.merge()
    assert not layer.merged


def test_a_twin_of_a_merged_layer_stands_on_the_original_weight():
    config, layers = adapted(GloraConfig(r=2, target_modules=["first"], init_weights=False))
    layer = layers["first"]
    x = torch.randn(5, 8, dtype=torch.float64)
    expected, weight = layer(x), layer.base_layer.weight.clone()
    layer.merge()
    for twin in (lab_twin(layer, config, "mine"), stock_twin(layer, config, "mine")):
        assert torch.equal(twin.get_base_layer().weight, weight) and not twin.merged
        torch.testing.assert_close(twin(x), expected, rtol=0, atol=1e-12)
    assert layer.merged


def test_what_the_other_cannot_hold_is_refused_with_the_reason():
    config, layers = adapted(GloraConfig.only(B="lora", target_modules=["first"]))
    with pytest.raises(ValueError, match=r"cannot express `config_A` \(='none'\).*holds for both"):
        stock_twin(layers["first"], config, "mine")
    config, layers = adapted(LoraConfig(target_modules=["first"]))
    with pytest.raises(ValueError, match="a LoRA stays PEFT's own"):
        lab_twin(layers["first"], config, "mine")
    assert type(stock_twin(layers["first"], config, "mine")) is type(layers["first"])


def test_the_random_state_is_left_alone():
    config, layers = adapted(GloraConfig(r=2, target_modules=["first"], init_weights=False))
    state = torch.get_rng_state()
    stock_twin(layers["first"], config, "mine")
    assert torch.equal(torch.get_rng_state(), state)
