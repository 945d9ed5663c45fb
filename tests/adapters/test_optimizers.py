"""PEFT's optimizers for LoRA: LoRA+ finds the roles of our tensors, the others say that they are for LoRA alone."""

from __future__ import annotations

import inspect
from typing import Any

import peft
import pytest
import torch
from peft.optimizers import create_lorafa_optimizer, create_loraplus_optimizer  # as they were imported by name
from torch import nn

from glora_lab.adapters import GloraConfig, GraloraConfig

LR, RATIO = 1e-3, 16.0
MODES = {"A": "lora", "B": "lora", "C": "lora", "D": "constant", "E": "vector"}
CONFIGS: dict[str, Any] = {
    "GLoRA": lambda **more: GloraConfig.only(**MODES, r=4, target_modules=["0"], **more),
    "GLoRA, vectors": lambda **more: GloraConfig.only(A="vector", B="vector", C="vector", target_modules=["0"], **more),
    "GraLoRA": lambda **more: GraloraConfig(r=4, hybrid_r=2, target_modules=["0"], **more),
    "LoRA": lambda **more: peft.LoraConfig(r=4, target_modules=["0"], **more),
}
FAST = {
    "GLoRA": {"glora_A.Xd", "glora_B.Xd", "glora_C.Xd"},
    "GLoRA, vectors": set(),
    "GraLoRA": {"gralora_B", "gralora_B_general.weight"},
    "LoRA": {"lora_B.weight"},
}


def adapted(method: str, **more: Any) -> nn.Module:
    return peft.get_peft_model(nn.Sequential(nn.Linear(16, 32), nn.ReLU()), CONFIGS[method](**more))


def rates(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, float]:
    by_id = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    named = {name.split("0.", 1)[1].replace(".default", ""): p for name, p in model.named_parameters()}
    return {name: by_id[id(p)] for name, p in named.items() if p.requires_grad}


def loraplus(model: nn.Module, **more: Any) -> torch.optim.Optimizer:
    return create_loraplus_optimizer(model, torch.optim.AdamW, lr=LR, loraplus_lr_ratio=RATIO, **more)


@pytest.mark.parametrize("method", CONFIGS)
def test_the_factor_that_starts_at_zero_learns_faster(method):
    model = adapted(method)
    optimizer = loraplus(model, loraplus_weight_decay=0.1)
    found = rates(model, optimizer)
    assert {name for name, rate in found.items() if rate == LR * RATIO} == FAST[method]
    assert all(rate in (LR, LR * RATIO) for rate in found.values())
    assert type(optimizer) is torch.optim.AdamW and sum(len(g["params"]) for g in optimizer.param_groups) == len(found)
    before = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    for _ in range(2):
        model(torch.randn(4, 16)).square().sum().backward()
        optimizer.step()
    assert all(not torch.equal(p, before[name]) for name, p in model.named_parameters() if name in before)


@pytest.mark.filterwarnings("ignore:bias=.*this PEFT trains biases")
def test_a_bias_of_the_base_keeps_peft_s_role():
    model = adapted("GLoRA", bias="glora_only")
    found = rates(model, loraplus(model))
    assert found["base_layer.bias"] == LR * RATIO and found["glora_E.X"] == LR


def test_each_of_several_adapters_has_its_roles():
    model = adapted("GLoRA")
    model.add_adapter("other", CONFIGS["GLoRA"]())
    model.base_model.set_adapter(["default", "other"])
    optimizer = loraplus(model)
    by_id = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert by_id[id(parameter)] == (LR * RATIO if name.endswith(".Xd") else LR)


@pytest.mark.parametrize("method", ["GLoRA", "GraLoRA"])
def test_lora_fa_is_refused_with_nothing_changed(method):
    model = adapted(method)
    before = {name: p.requires_grad for name, p in model.named_parameters()}
    said = f"carries {method.capitalize()}Linear, and LoRA-FA computes with LoRA's own pair"
    with pytest.raises(ValueError, match=said):
        create_lorafa_optimizer(model, r=4, lora_alpha=8, lr=LR)
    assert {name: p.requires_grad for name, p in model.named_parameters()} == before


def test_lora_itself_goes_on_as_before():
    model = adapted("LoRA")
    optimizer = create_lorafa_optimizer(model, r=4, lora_alpha=8, lr=LR)
    model(torch.randn(4, 16)).sum().backward()
    optimizer.step()
    assert not model.base_model.model[0].lora_A["default"].weight.requires_grad
    shown = inspect.signature(create_loraplus_optimizer).parameters
    assert "loraplus_lr_ratio" in shown and "optimizer_cls" in shown
