"""GraloraConfig and block_plan.py: what they say, what they refuse, and which k fit."""

from __future__ import annotations

import copy
import json
import math

import peft
import pytest
from torch import nn

import glora_lab
from glora_lab.adapters import GraloraConfig, GraloraModel
from glora_lab.adapters.gralora.blocks import fitting_k
from glora_lab.adapters.registry import LabPeftType

from .block_models import INDIVISIBLE, BlockNet, add, config, encoder, gralora_model
from .small_models import Net, bits, expecting, gpt2, llama, same_bits

REFUSED = {
    "r": [0, -1, 2.5, True, "8", None, 31],  # 31 is not divisible by gralora_k
    "hybrid_r": [-1, 1.5, True, "8", None],
    "gralora_k": [0, -1, 2.0, True, "2", None],
    "alpha": [0, -2, float("nan"), float("inf"), "16", True, None],
    "gralora_dropout": [-0.1, 1.0, "0.1", True, None, float("nan")],
    "fan_in_fan_out": ["no", None, 1],
    "bias": ["some", "lora_only", None, True],
    "init_weights": ["gaussian", None, 1],
    "use_rslora": ["yes", None, 1],
    "on_indivisible": ["ignore", None, True],
    "target_modules": ["(", 5, ["q", 5], [""]],
    "exclude_modules": ["(", 5, [None]],
    "modules_to_save": ["head", 5, ["("]],
    "rank_pattern": [{"(": 4}, {"a": 0}, {"a": True}, {5: 4}, ["a"], None],
    "alpha_pattern": [{"(": 4}, {"a": 0}, {"a": "4"}, None],
    "k_pattern": [{"(": 4}, {"a": 0}, {"a": 2.0}, {"": 2}, None],
    "layers_to_transform": [-1, True, "0", [0, -1], 1.5],
    "layers_pattern": ["layers", 5],
}


@pytest.mark.parametrize("name, value", [(name, v) for name, values in REFUSED.items() for v in values], ids=str)
def test_a_bad_setting_is_one_value_error_with_name_and_value(name, value):
    with pytest.raises(ValueError, match=f"^(r should be divisible .*: )?`{name}") as caught:
        GraloraConfig(**{name: value})
    shown = value if not isinstance(value, dict | list) else next(iter(value), value)
    assert str(shown) in str(caught.value) or repr(value) in str(caught.value)
    assert " must " in str(caught.value) or " needs " in str(caught.value)


@pytest.mark.parametrize("name, value", [(name, values[0]) for name, values in REFUSED.items()], ids=str)
def test_a_field_assigned_later_is_checked_before_the_model_is_touched(name, value):
    given_config = GraloraConfig(target_modules=["encoder"])
    setattr(given_config, name, value)
    net = BlockNet()
    with pytest.raises(ValueError, match=f"^`{name}"):
        peft.get_peft_model(net, given_config)
    assert type(net.encoder) is nn.Linear and all(p.requires_grad for p in net.parameters())


def test_a_rank_that_k_does_not_divide_names_both():
    with pytest.raises(ValueError) as caught:
        GraloraConfig(r=6, gralora_k=4)
    ours = "`r` (=6) must be divisible by `gralora_k` (=4)"
    assert str(caught.value) == f"r should be divisible by gralora_k, but got 6 and 4: {ours}"


def test_the_type_is_ours_and_the_entries_of_peft_stay():
    assert GraloraConfig().peft_type == LabPeftType.GRALORA_LAB == "GRALORA_LAB"
    assert peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING[peft.PeftType.GRALORA] is peft.GraloraConfig
    assert peft.mapping.PEFT_TYPE_TO_TUNER_MAPPING[peft.PeftType.GRALORA] is peft.GraloraModel
    assert peft.mapping.PEFT_TYPE_TO_PREFIX_MAPPING[LabPeftType.GRALORA_LAB] == "gralora_"
    stock = peft.get_peft_model(BlockNet(), peft.GraloraConfig(target_modules=["encoder"]))
    assert type(stock.base_model) is peft.GraloraModel
    assert type(gralora_model(BlockNet()).base_model) is GraloraModel
    assert glora_lab.GraloraConfig is GraloraConfig


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


def layers(model: nn.Module) -> dict[str, nn.Module]:
    prefix = "base_model.model."
    return {n.removeprefix(prefix): m for n, m in model.named_modules() if type(m).__name__ == "GraloraLinear"}


def test_rank_alpha_and_k_patterns():
    found = layers(
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


def test_targets_by_default_by_pattern_and_without_exclusions():
    assert {n.rpartition(".")[2] for n in layers(peft.get_peft_model(llama(), GraloraConfig()))} == {"q_proj", "v_proj"}
    assert len(layers(gralora_model(llama(), r=8, target_modules="all-linear"))) == 2 * 7
    found = layers(gralora_model(llama(), target_modules=["q_proj", "v_proj"], exclude_modules=["v_proj"]))
    assert {n.rpartition(".")[2] for n in found} == {"q_proj"}
    found = layers(gralora_model(llama(), target_modules=["q_proj"], layers_to_transform=[1], layers_pattern="layers"))
    assert list(found) == ["model.layers.1.self_attn.q_proj"]


@pytest.mark.parametrize("bias, trained", [("none", set()), ("gralora_only", {"encoder", "decoder"}), ("all", None)])
def test_bias(bias, trained):
    model = gralora_model(BlockNet(), bias=bias)
    found = {n.split(".")[2] for n, p in model.named_parameters() if n.endswith("bias") and p.requires_grad}
    assert found == ({"encoder", "decoder", "head"} if trained is None else trained)


def test_the_users_configuration_is_not_changed():
    """Stock writes fan_in_fan_out into it, so that a second model made from it is wrong."""
    for cls, changed in ((GraloraConfig, False), (peft.GraloraConfig, True)):
        given_config = cls(r=8, target_modules=["c_attn"])
        before = copy.deepcopy(given_config)
        with expecting("fan_in_fan_out is set to False but"):
            peft.get_peft_model(gpt2(), given_config)
        assert (given_config.fan_in_fan_out != before.fan_in_fan_out) == changed


@pytest.mark.parametrize(
    "settings",
    [{}, {"k_pattern": {"a": 4}, "rank_pattern": {"a": 8}, "use_rslora": True, "on_indivisible": "skip"}],
)
def test_a_configuration_survives_saving(tmp_path, settings):
    given_config = config(**settings)
    given_config.save_pretrained(tmp_path)
    loaded = GraloraConfig.from_pretrained(tmp_path)
    assert loaded == given_config and type(loaded) is GraloraConfig
    assert type(peft.PeftConfig.from_pretrained(tmp_path)) is GraloraConfig
    assert json.loads((tmp_path / "adapter_config.json").read_text())["peft_type"] == "GRALORA_LAB"


def test_a_stock_configuration_is_read_as_ours(tmp_path):
    settings = {"r": 9, "gralora_k": 3, "hybrid_r": 2, "alpha": 5, "target_modules": ["a"], "gralora_dropout": 0.1}
    peft.GraloraConfig(**settings).save_pretrained(tmp_path)
    loaded = GraloraConfig.from_pretrained(tmp_path)
    assert type(loaded) is GraloraConfig and loaded == GraloraConfig(**settings)
    assert type(peft.PeftConfig.from_pretrained(tmp_path)) is peft.GraloraConfig
