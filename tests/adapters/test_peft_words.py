"""PEFT's own words, which its users look for, stand at the start of ours; what ours say more comes behind them."""

from __future__ import annotations

import peft
import pytest
import torch
from torch import nn

from glora_lab.adapters import GloraConfig, GraloraConfig

from .small_models import Net


def said_by(call) -> str:
    with pytest.raises(ValueError) as caught:
        call()
    return str(caught.value)


def broken(config: peft.PeftConfig) -> peft.PeftModel:
    model = peft.get_peft_model(Net(), config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.fill_(torch.nan)
    return model


@pytest.mark.parametrize(
    "ours, stock",
    [
        (GloraConfig(target_modules=["encoder"]), peft.GloraConfig(target_modules=["encoder"])),
        (GraloraConfig(r=4, target_modules=["encoder"]), peft.GraloraConfig(r=4, target_modules=["encoder"])),
    ],
    ids=["GLoRA", "GraLoRA"],
)
def test_of_weights_that_are_no_numbers(ours, stock):
    words = said_by(lambda: broken(stock).merge_adapter(safe_merge=True))
    said = said_by(lambda: broken(ours).merge_adapter(safe_merge=True))
    assert words == "NaNs detected in the merged weights. The adapter default seems to be broken"
    assert said == f"{words} in layer 'encoder'"


@pytest.mark.parametrize("wrong", [{"gralora_k": 0}, {"gralora_k": -2}, {"r": 6, "gralora_k": 4}], ids=str)
def test_of_gralora_s_settings(wrong):
    words = said_by(lambda: peft.GraloraConfig(**wrong))
    assert said_by(lambda: GraloraConfig(**wrong)).startswith(f"{words}: `")


@pytest.mark.parametrize("wrong", [{"r": 0, "gralora_k": 1}, {"hybrid_r": -1}], ids=str)
def test_of_gralora_s_settings_that_stock_looks_at_on_a_layer(wrong):
    words = said_by(lambda: peft.get_peft_model(Net(), peft.GraloraConfig(target_modules=["encoder"], **wrong)))
    assert said_by(lambda: GraloraConfig(**wrong)).startswith(f"{words}: `")


@pytest.mark.parametrize("sizes", [(6, 8), (8, 6), (6, 6)], ids=str)
def test_of_features_that_k_does_not_divide(sizes):
    settings = {"r": 4, "gralora_k": 4, "target_modules": ["0"]}
    make = nn.Sequential
    words = said_by(lambda: peft.get_peft_model(make(nn.Linear(*sizes)), peft.GraloraConfig(**settings)))
    said = said_by(lambda: peft.get_peft_model(make(nn.Linear(*sizes)), GraloraConfig(**settings)))
    assert said.startswith(f"{words}: `gralora_k` (=4) must divide the features")
