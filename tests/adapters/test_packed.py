"""`torch.ao.quantization.quantize_dynamic` on a model that carries an adapter: the adapter stays what it is."""

from __future__ import annotations

import warnings

import peft
import pytest
import torch
from torch import nn

from glora_lab.adapters import GloraConfig, GraloraConfig

from .small_models import CHOICES, SECOND_TUNER, SINGLES, expecting, glora_layer, largest_difference, named

ALL_LORA = {"A": "lora", "B": "lora", "C": "lora", "D": "vector", "E": "vector"}
CONFIGS = {"GLoRA": GloraConfig, "GraLoRA": GraloraConfig}


def packed(model: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that all of this will move
        return torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)


@pytest.mark.parametrize("form", ["elementwise", "product"])
@pytest.mark.parametrize("bias", [True, False])
def test_every_choice_is_computed_over_the_weight_that_is_left(bias, form):
    x = torch.randn(2, 3, 8)
    for choice in [*SINGLES, *CHOICES[:-1:13]]:
        plain = nn.Sequential(glora_layer(nn.Linear(8, 6, bias=bias), choice, A_form=form, bias_free="add")).eval()
        found = packed(plain)[0]
        layer, base = plain[0], found.base_layer
        assert type(base).__module__.startswith("torch.ao")
        with torch.no_grad():  # the same values, unpacked: what is left is the rounding of x by the packed layer
            layer.base_layer.weight.copy_(base.weight().dequantize())
            rounding = base(x) - layer.base_layer(x)
            added, wanted = found(x) - base(x), layer(x) - layer.base_layer(x)
        assert largest_difference(added, wanted) <= 1e-5 + 2 * rounding.abs().max(), named(choice)


@pytest.mark.parametrize("adapter", CONFIGS)
def test_a_packed_model(adapter):
    settings = {"r": 4, "target_modules": ["0"], "init_weights": False}
    plain = peft.get_peft_model(nn.Sequential(nn.Linear(8, 6)), CONFIGS[adapter](**settings)).eval()
    plain.add_adapter("second", CONFIGS[adapter](**settings))
    x, model = torch.randn(4, 8), packed(plain)
    assert largest_difference(model(x), plain(x)) < 0.1 * plain(x).abs().max()
    off = model.base_model.model[0].base_layer(x)
    with model.disable_adapter():
        assert torch.equal(model(x), off)
    for one in (model, plain):
        one.set_adapter("second")
    assert largest_difference(model(x), plain(x)) < 0.1 * plain(x).abs().max()
    assert model.base_model.model[0].get_delta_weight("second").shape == (6, 8)
    model(x).square().mean().backward()
    assert all(p.grad is not None for name, p in model.named_parameters() if ".second" in name)
    before = model(x)
    for merging in (model.merge_adapter, model.merge_and_unload):
        with pytest.raises(ValueError, match=r"keeps its weight quantised \(torch\.ao\.\S*\.Linear\), and would round"):
            merging()
    assert torch.equal(model(x), before)


def test_one_of_ours_over_the_other():
    settings = {"r": 4, "target_modules": ["0"], "init_weights": False}
    inner = peft.get_peft_model(nn.Sequential(nn.Linear(8, 6)), GraloraConfig(**settings)).base_model.model
    with expecting(SECOND_TUNER, "You are trying to modify a model with PEFT for a second time"):
        plain = peft.get_peft_model(inner, GloraConfig.only(**{**ALL_LORA, "A": "vector"}, **settings)).eval()
    x = torch.randn(4, 8)
    assert largest_difference(packed(plain)(x), plain(x)) < 0.1 * plain(x).abs().max()
