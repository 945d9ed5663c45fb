"""merge_order: what is too much when one adapter is merged into what the other left, for real layers."""

from __future__ import annotations

import peft
import pytest
import torch
from torch import nn

from glora_lab.adapters import GloraConfig, GraloraConfig
from glora_lab.measure import merge_order


def pair(config, bias: bool = True) -> nn.Module:
    torch.manual_seed(0)
    model = peft.get_peft_model(nn.Sequential(nn.Linear(8, 6, bias=bias)), config, adapter_name="first")
    model.add_adapter("second", config)
    return model


def test_what_is_off_is_the_first_change_times_the_seconds_a() -> None:
    model = pair(GloraConfig.only(A="lora", B="lora", r=2, target_modules=["0"], init_weights=False), bias=False)
    layer = model.base_model.model[0].double()
    order = merge_order(model, "0")
    layer.requires_grad_(False)
    one, other = (layer.get_delta_weight(name) for name in ("first", "second"))
    a = {name: layer.glora_A[name].Xd @ layer.glora_A[name].Xu for name in ("first", "second")}
    size = (one + other).norm()
    assert order.together < 1e-12 and order.names == ("first", "second") and order.method == "GLoRA"
    assert order.in_turn[0] == pytest.approx(float((one * a["second"]).norm() / size), rel=1e-6)
    assert order.in_turn[1] == pytest.approx(float((other * a["first"]).norm() / size), rel=1e-6)


@pytest.mark.parametrize(
    "config",
    [
        GraloraConfig(r=2, gralora_k=2, target_modules=["0"], init_weights=False),
        peft.LoraConfig(r=2, target_modules=["0"], init_lora_weights=False),
        GloraConfig.only(B="lora", E="vector", r=2, target_modules=["0"], init_weights=False),
    ],
)
def test_what_does_not_look_at_the_weight_may_be_merged_in_any_order(config) -> None:
    order = merge_order(pair(config), "0")
    assert max(order.together, *order.in_turn) < 1e-6


def test_the_model_is_left_alone_and_other_pairs_can_be_asked_for() -> None:
    model = pair(GloraConfig(r=2, target_modules=["0"], init_weights=False))
    model.add_adapter("third", GloraConfig(r=2, target_modules=["0"], init_weights=False))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    order = merge_order(model, "0", ("third", "first"))
    assert order.names == ("third", "first") and min(order.in_turn) > 1e-3
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_one_adapter_or_a_merged_one_is_refused() -> None:
    config = GloraConfig(r=2, target_modules=["0"], init_weights=False)
    alone = peft.get_peft_model(nn.Sequential(nn.Linear(8, 6)), config)
    with pytest.raises(ValueError, match=r"`names` .* must be two adapters of 0, which carries default"):
        merge_order(alone, "0")
    merged = pair(config)
    with pytest.raises(ValueError, match=r"`names` \(=.*must be two adapters"):
        merge_order(merged, "0", ("first", "zzz"))
    merged.merge_adapter()
    with pytest.raises(ValueError, match="has an adapter merged: unmerge first"):
        merge_order(merged, "0")
