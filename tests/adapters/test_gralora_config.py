"""GraloraConfig and gralora/blocks.py: what they say, what they refuse, and which k fit."""

from __future__ import annotations

import copy
import math

import peft
import pytest
from torch import nn

from glora_lab.adapters import GraloraConfig
from glora_lab.adapters.gralora.blocks import fitting_k

from .block_models import INDIVISIBLE, BlockNet, add, encoder, gralora_model
from .small_models import Net, bits, expecting, gpt2, llama, same_bits
from .test_config import adapted


def test_a_rank_that_k_does_not_divide_names_both():
    with pytest.raises(ValueError) as caught:
        GraloraConfig(r=6, gralora_k=4)
    ours = "`r` (=6) must be divisible by `gralora_k` (=4)"
    assert str(caught.value) == f"r should be divisible by gralora_k, but got 6 and 4: {ours}"


def test_every_default_is_that_of_stock():
    ours, stock = GraloraConfig().to_dict(), peft.GraloraConfig().to_dict()
    stock.pop("peft_type")
    assert {name: ours[name] for name in stock} == stock


def test_fitting_k():
    assert fitting_k(24, 36) == [1, 2, 3, 4, 6, 12]
    assert fitting_k(24, 36, 8) == [1, 2, 4]
    assert fitting_k(7, 8) == [1]
    assert fitting_k(5) == [1, 5]


def refused_by(net: nn.Module, **settings) -> str:
    """The error that the model answers with; it is left as it was."""
    before = bits(net)
    with pytest.raises(ValueError) as caught:
        gralora_model(net, **settings)
    assert same_bits(net, before) and not any("gralora" in repr(type(m)).lower() for m in net.modules())
    return str(caught.value)


def test_layers_that_k_does_not_divide_are_named_in_one_error_with_the_k_that_fit():
    said = refused_by(Net(), target_modules=["encoder", "decoder", "head"], r=12, gralora_k=4)
    assert said.startswith(
        "in_features should be divisible by gralora_k, but got 6 and 4: "
        "`gralora_k` (=4) must divide the features and the rank of a layer"
    )
    assert "encoder (k 4, 6 → 8 features, r 12; k that fit: 1, 2)" in said
    assert "decoder (k 4, 8 → 7 features, r 12; k that fit: 1)" in said
    assert "head (k 4, 7 → 3 features" in said
    assert "k that fit all of these: 1." in said


def test_layers_alike_share_a_line_and_layers_that_fit_are_not_named():
    said = refused_by(llama(), target_modules=["q_proj", "up_proj"], r=15, gralora_k=3)
    assert "model.layers.0.self_attn.q_proj, model.layers.1.self_attn.q_proj (k 3, 32 → 32 features" in said
    assert said.count("k that fit") == 3 and "k that fit all of these: 1" in said
    said = refused_by(BlockNet(), target_modules=["encoder", "head"], r=16)
    assert "head (k 4, 24 → 3 features" in said and "encoder" not in said and "all of these" not in said


def test_a_k_of_a_pattern_is_blamed_by_that_name():
    said = refused_by(BlockNet(), k_pattern={"decoder": 5}, r=20)
    assert ": `k_pattern` (k=5) must divide" in said and "decoder (k 5" in said and "encoder" not in said


def test_a_rank_of_a_pattern_must_fit_as_well():
    for on_indivisible in ("error", "skip"):  # a rank that does not fit is no property of the model
        said = refused_by(BlockNet(), rank_pattern={"decoder": 6}, on_indivisible=on_indivisible)
        assert "decoder (k 4, 48 → 24 features, r 6; k that fit: 1, 2, 3, 6)" in said


def test_skipped_layers_stay_as_they_are_and_are_named_once():
    net = BlockNet()
    with pytest.warns(UserWarning, match=INDIVISIBLE) as caught:
        model = gralora_model(net, target_modules=["encoder", "head"], on_indivisible="skip")
    assert len(caught) == 1 and "1 layer (head), which k=4 does not divide" in str(caught[0].message)
    assert type(net.head) is nn.Linear and encoder(model).gralora_A["default"].shape == (4, 6, 24)


def test_a_layer_may_be_skipped_by_one_adapter_and_carry_another():
    model = gralora_model(BlockNet(), target_modules=["encoder", "head"], gralora_k=3)
    with expecting(INDIVISIBLE):
        add(model, "second", target_modules=["encoder", "head"], gralora_k=4, on_indivisible="skip")
    head = model.base_model.model.head
    assert list(head.plans) == ["default"] and list(encoder(model).plans) == ["default", "second"]
    model.set_adapter("second")
    assert not head.contributes("second")


def test_skipping_every_layer_leaves_nothing_to_train():
    said = refused_by(BlockNet(), target_modules=["head"], on_indivisible="skip")
    assert "nothing to train" in said and "1 layer (head), which k=4 does not divide" in said
    with expecting(INDIVISIBLE):
        model = gralora_model(BlockNet(), target_modules=["head"], on_indivisible="skip", modules_to_save=["decoder"])
    assert any(p.requires_grad for p in model.parameters())


def test_rank_alpha_and_k_patterns():
    found = adapted(
        gralora_model(
            llama(),
            r=8,
            alpha=16,
            gralora_k=2,
            hybrid_r=2,
            target_modules=["q_proj", "v_proj"],
            rank_pattern={"v_proj": 4},
            k_pattern={r"layers\.1\..*_proj": 4, "layers.0.self_attn.v_proj": 1},
            alpha_pattern={r"layers\.0\.self_attn\.v_proj": 32},
        )
    )
    short = {name.removeprefix("model.layers.").replace(".self_attn", ""): layer for name, layer in found.items()}
    assert {n: (m.r["default"], m.gralora_k["default"]) for n, m in short.items()} == {
        "0.q_proj": (8, 2),
        "0.v_proj": (4, 1),
        "1.q_proj": (8, 4),
        "1.v_proj": (4, 4),
    }
    assert {n: m.scaling["default"] for n, m in short.items()} == {
        "0.q_proj": 16 / 10,
        "0.v_proj": 32 / 6,
        "1.q_proj": 16 / 10,
        "1.v_proj": 16 / 6,
    }
    assert short["1.v_proj"].gralora_A["default"].shape == (4, 8, 4)
    assert short["1.v_proj"].gralora_A_general["default"].weight.shape == (2, 32)


@pytest.mark.parametrize("hybrid_r", [0, 4])
def test_rslora_scales_by_the_root_of_the_whole_rank(hybrid_r):
    model = gralora_model(BlockNet(), r=12, hybrid_r=hybrid_r, alpha=20, use_rslora=True)
    assert encoder(model).scaling["default"] == 20 / math.sqrt(12 + hybrid_r)


def test_the_users_configuration_is_not_changed():
    """Stock writes fan_in_fan_out into it, so that a second model made from it is wrong."""
    for cls, changed in ((GraloraConfig, False), (peft.GraloraConfig, True)):
        given_config = cls(r=8, target_modules=["c_attn"])
        before = copy.deepcopy(given_config)
        with expecting("fan_in_fan_out is set to False but"):
            peft.get_peft_model(gpt2(), given_config)
        assert (given_config.fan_in_fan_out != before.fan_in_fan_out) == changed
