"""Stock methods, written as classes of one's own, compute and merge as PEFT's: to 1e-10 in float64."""

from __future__ import annotations

import copy

import peft
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.adapters.small_models import conv1d, expecting, largest_difference

from .methods import OwnDora, OwnLoha, OwnLokr, OwnLora, OwnVera, RowScale
from .own_models import stir

CLOSE = 1e-10


def lora(layer):
    return {"A": layer.lora_A["default"].weight, "B": layer.lora_B["default"].weight}


def vera(layer):
    a, b = layer.vera_A["default"], layer.vera_B["default"]
    fixed = {"A": a[:, : layer.in_features], "B": b[: layer.out_features]}
    return {"d": layer.vera_lambda_d["default"], "b": layer.vera_lambda_b["default"], **fixed}


def loha(layer):
    return {name: getattr(layer, f"hada_{name}")["default"] for name in ("w1_a", "w1_b", "w2_a", "w2_b")}


def lokr(layer):
    return {name: getattr(layer, f"lokr_{name}")["default"] for name in ("w1", "w2_a", "w2_b")}


def ia3(layer):
    return {"scale": layer.ia3_l["default"].flatten()}


def dora(layer):
    return {**lora(layer), "magnitude": layer.lora_magnitude_vector["default"].weight}


# ours, PEFT's configuration, and where PEFT keeps the tensors
STOCK = {
    "LoRA": (OwnLora, lambda r, **s: peft.LoraConfig(r=r, lora_alpha=16, **s), lora),
    "VeRA": (OwnVera, lambda r, **s: peft.VeraConfig(r=r, **s), vera),
    "LoHa": (OwnLoha, lambda r, **s: peft.LoHaConfig(r=r, alpha=8, **s), loha),
    "LoKr": (OwnLokr, lambda r, **s: peft.LoKrConfig(r=r, alpha=8, **s), lokr),
    "(IA)³": (RowScale, lambda r, **s: peft.IA3Config(feedforward_modules=[], **s), ia3),
    "DoRA": (OwnDora, lambda r, **s: peft.LoraConfig(r=r, lora_alpha=16, use_dora=True, **s), dora),
}


class One(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)


def both(name, base, r):
    """PEFT's model and ours, with the same values, none of them where training starts."""
    method, config, found = STOCK[name]
    base = One(base).double()
    stock = peft.get_peft_model(copy.deepcopy(base), config(r, target_modules=["layer"])).double()
    ours = peft.get_peft_model(base, method.config(r=r, target_modules=["layer"]))
    stir(stock)
    held = ours.base_model.model.layer.delta_tensors["default"]
    values = found(stock.base_model.model.layer)
    with torch.no_grad():
        for tensor, value in values.items():
            getattr(held, tensor).copy_(value)
    assert values.keys() == set(held())
    return stock.eval(), ours.eval()


@pytest.mark.parametrize("name", STOCK)
@settings(max_examples=15)
@given(sizes=st.tuples(st.integers(8, 20), st.integers(8, 20)), r=st.integers(1, 2), bias=st.booleans())
def test_as_pefts_own(name, sizes, r, bias):
    out, in_ = sizes
    if name == "LoKr":
        out, in_ = 16, 4 * in_  # PEFT keeps a second factor whole where the rank is no saving
    stock, ours = both(name, nn.Linear(in_, out, bias=bias), r)
    x = torch.randn(3, in_, dtype=torch.double)
    wanted, frozen = stock(x), ours.base_model.model.layer.base_layer(x)
    assert largest_difference(wanted, frozen) > 1e-4
    assert largest_difference(ours(x), wanted) < CLOSE
    merged = [model.merge_and_unload().layer for model in (stock, ours)]
    assert largest_difference(merged[0].weight, merged[1].weight) < CLOSE
    assert largest_difference(merged[1](x), wanted) < CLOSE


@pytest.mark.parametrize("name", ["LoRA", "(IA)³", "DoRA"])
def test_as_pefts_own_over_conv1d(name):
    with expecting("fan_in_fan_out is set to False"):
        stock, ours = both(name, conv1d(12, 10), 2)
    x = torch.randn(3, 12, dtype=torch.double)
    assert largest_difference(ours(x), stock(x)) < CLOSE
    merged = [model.merge_and_unload().layer for model in (stock, ours)]
    assert largest_difference(merged[0].weight, merged[1].weight) < CLOSE


@pytest.mark.parametrize("name", STOCK)
def test_gradients_are_pefts(name):
    stock, ours = both(name, nn.Linear(36, 16), 2)
    x = torch.randn(3, 36, dtype=torch.double)
    for model in (stock, ours):
        model(x).pow(2).sum().backward()
    layer = stock.base_model.model.layer
    for tensor, value in STOCK[name][2](layer).items():
        own = getattr(ours.base_model.model.layer.delta_tensors["default"], tensor)
        if own.requires_grad:
            wanted = layer.ia3_l["default"].grad.flatten() if name == "(IA)³" else value.grad
            assert largest_difference(own.grad, wanted) < CLOSE
