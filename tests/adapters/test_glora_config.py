"""GloraConfig: what it says, what it refuses, and which layers it reaches."""

from __future__ import annotations

import json

import peft
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from glora_lab.adapters import GloraConfig
from glora_lab.adapters.registry import LabPeftType

from .small_models import INERT, Net, expecting, glora_model, gpt2, llama


def modes(**settings) -> str:
    """The five modes as their first letters, A to E, with - for none."""
    return "".join("-" if mode == "none" else mode[0] for mode in GloraConfig(**settings).modes.values())


@pytest.mark.parametrize(
    "settings, expected",
    [
        ({}, "lllcc"),
        ({"config_A_B": "vector"}, "vvlcc"),
        ({"config_A_B": "constant", "config_C": "vector", "config_D_E": "vector"}, "ccvvv"),
        ({"config_A_B": "none", "config_C": "none", "config_D_E": "none"}, "-----"),
        ({"config_A": "none"}, "-llcc"),
        ({"config_B": "constant"}, "lclcc"),
        ({"config_A_B": "none", "config_A": "vector"}, "v-lcc"),
        ({"config_D": "none"}, "lll-c"),
        ({"config_D_E": "none", "config_E": "vector"}, "lll-v"),
        ({"config_A": "lora", "config_B": "vector", "config_D": "constant", "config_E": "none"}, "lvlc-"),
    ],
)
def test_the_shorthand_and_its_overrides(settings, expected):
    assert modes(**settings) == expected


def test_only_switches_the_other_paths_off():
    assert GloraConfig.only(B="lora").modes == {"A": "none", "B": "lora", "C": "none", "D": "none", "E": "none"}
    assert GloraConfig.only(E="vector", r=2).r == 2


def test_the_type_is_ours_and_the_entries_of_peft_stay():
    assert GloraConfig().peft_type == LabPeftType.GLORA_LAB == "GLORA_LAB"
    assert peft.GloraConfig().peft_type == peft.PeftType.GLORA
    assert peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING[peft.PeftType.GLORA] is peft.GloraConfig
    assert peft.mapping.PEFT_TYPE_TO_TUNER_MAPPING[peft.PeftType.GLORA] is peft.GloraModel
    assert peft.mapping.PEFT_TYPE_TO_PREFIX_MAPPING[peft.PeftType.GLORA] == "glora_"
    stock = peft.get_peft_model(Net(), peft.GloraConfig(target_modules=["encoder"]))
    assert type(stock.base_model) is peft.GloraModel


NOT_A_RANK = [0, -1, 2.5, True, "8", None]
REFUSED = {
    "r": NOT_A_RANK,
    "config_A_B": ["Lora", "", None, 1],
    "config_A": ["diagonal", 1, True],
    "config_B": ["diagonal", []],
    "config_C": ["constant", None],
    "config_D_E": ["lora", None],
    "config_D": ["lora"],
    "config_E": ["lora"],
    "A_form": ["matrix", None, "Product"],
    "bias": ["some", "lora_only", None, True],
    "bias_free": ["keep", None],
    "init_weights": ["gaussian", None, 1],
    "use_rslora": ["yes", None, True],  # True needs alpha
    "glora_dropout": [-0.1, 1.0, "0.1", True, None, float("nan")],
    "alpha": [0, -2, float("nan"), float("inf"), "16", True],
    "target_modules": ["(", "*a", 5, ["q", 5], [""], {"q": 1}],
    "exclude_modules": ["(", "[", 5, [None]],
    "modules_to_save": ["head", 5, [5], ["("]],
    "rank_pattern": [{"(": 4}, {"a": 0}, {"a": True}, {5: 4}, {"": 4}, ["a"], None],
    "alpha_pattern": [{"(": 4}, {"a": 0}, {"a": "4"}, ["a"], None],
    "path_pattern": [
        {"(": {"A": "lora"}},
        {"a": {"F": "lora"}},
        {"a": {"D": "lora"}},
        {"a": {"A": None}},
        {"a": "lora"},
        ["a"],
        None,
    ],
    "layers_to_transform": [-1, True, "0", [0, "1"], [0, -1], 1.5],
    "layers_pattern": ["layers", 0, 5, [5], "("],  # the first needs layers_to_transform
}


@pytest.mark.parametrize(
    "name, value", [(name, value) for name, values in REFUSED.items() for value in values], ids=str
)
def test_a_bad_setting_is_one_value_error_with_name_and_value(name, value):
    with pytest.raises(ValueError, match=f"^`{name}") as caught:
        GloraConfig(**{name: value})
    shown = value if not isinstance(value, dict | list) else next(iter(value), value)
    assert str(shown) in str(caught.value) or repr(value) in str(caught.value)
    assert " must " in str(caught.value) or " needs " in str(caught.value)


@pytest.mark.parametrize("pattern", ["(", 5, [5]])
def test_a_bad_layers_pattern_beside_layers_to_transform(pattern):
    with pytest.raises(ValueError, match=r"^`layers_pattern"):
        GloraConfig(target_modules=["q"], layers_to_transform=[0], layers_pattern=pattern)


def test_layers_to_transform_needs_a_list_of_targets():
    with pytest.raises(ValueError, match=r"^`layers_to_transform"):
        GloraConfig(target_modules=".*q", layers_to_transform=[0])


@pytest.mark.parametrize("name, value", [(name, values[0]) for name, values in REFUSED.items()], ids=str)
def test_a_field_assigned_later_is_checked_before_the_model_is_touched(name, value):
    config = GloraConfig(target_modules=["encoder"])
    setattr(config, name, value)
    net = Net()
    with pytest.raises(ValueError, match=f"^`{name}"):
        peft.get_peft_model(net, config)
    assert type(net.encoder) is nn.Linear and all(p.requires_grad for p in net.parameters())


@given(
    st.sampled_from(list(REFUSED)),
    st.one_of(st.integers(max_value=-1), st.floats(max_value=-1), st.binary(), st.tuples(), st.just(object())),
)
def test_no_nonsense_gets_through(name, value):
    """A value of a wrong kind is a ValueError with the argument's name, never a crash elsewhere."""
    harmless = {"target_modules", "exclude_modules", "modules_to_save", "layers_to_transform", "layers_pattern"}
    if value == () and name in harmless:
        return  # an empty list of names
    with pytest.raises(ValueError, match=f"^`{name}"):
        GloraConfig(**{name: value})


def adapted_layers(model: nn.Module) -> dict[str, nn.Module]:
    prefix = "base_model.model."
    return {name.removeprefix(prefix): m for name, m in model.named_modules() if type(m).__name__ == "GloraLinear"}


def llama_layers(**settings) -> dict[str, nn.Module]:
    with expecting(INERT):
        return adapted_layers(peft.get_peft_model(llama(), GloraConfig(**settings)))


def test_targets_by_name_by_pattern_and_by_default():
    assert {n.rpartition(".")[2] for n in llama_layers(target_modules=["q_proj", "up_proj"])} == {"q_proj", "up_proj"}
    assert list(llama_layers(target_modules=r".*layers\.1.*\.k_proj")) == ["model.layers.1.self_attn.k_proj"]
    assert {n.rpartition(".")[2] for n in llama_layers()} == {"q_proj", "v_proj"}


def test_all_linear_means_all_but_the_output_layer():
    found = llama_layers(target_modules="all-linear")
    assert len(found) == 2 * 7 and "lm_head" not in found


def test_excluded_modules():
    assert set(llama_layers(target_modules=["q_proj", "v_proj"], exclude_modules=["v_proj"])) == {
        "model.layers.0.self_attn.q_proj",
        "model.layers.1.self_attn.q_proj",
    }
    assert all(
        "layers.0" in name for name in llama_layers(target_modules=["q_proj"], exclude_modules=r".*layers\.1\..*")
    )


@pytest.mark.parametrize("layers", [1, [1]])
@pytest.mark.parametrize("pattern", [None, "layers", ["layers"]])
def test_layers_to_transform(layers, pattern):
    found = llama_layers(target_modules=["q_proj"], layers_to_transform=layers, layers_pattern=pattern)
    assert list(found) == ["model.layers.1.self_attn.q_proj"]


def test_rank_and_alpha_patterns():
    found = llama_layers(
        r=4,
        alpha=8,
        target_modules=["q_proj", "v_proj"],
        rank_pattern={"v_proj": 2, r"layers\.1\.self_attn\.q_proj": 6},
        alpha_pattern={r"layers\.0\.self_attn\.v_proj": 32},
    )
    short = {name.removeprefix("model.layers.").replace(".self_attn", ""): layer for name, layer in found.items()}
    assert {n: m.r["default"] for n, m in short.items()} == {"0.q_proj": 4, "0.v_proj": 2, "1.q_proj": 6, "1.v_proj": 2}
    assert short["1.q_proj"].glora_B["default"].Xu.shape == (6, 32)
    assert {n: m.scaling["default"] for n, m in short.items()} == {
        "0.q_proj": 8 / 4,
        "0.v_proj": 32 / 2,
        "1.q_proj": 8 / 6,
        "1.v_proj": 8 / 2,
    }


def test_alpha_pattern_alone_scales_its_layers_and_no_others():
    found = adapted_layers(glora_model(Net(), r=4, alpha_pattern={"decoder": 8}, use_rslora=True))
    assert {name: layer.scaling["default"] for name, layer in found.items()} == {"encoder": 1.0, "decoder": 8 / 2}


def test_path_pattern():
    found = adapted_layers(
        glora_model(Net(), path_pattern={"decoder": {"A": "none", "D": "vector"}, ".*enc.*": {"E": "none"}})
    )
    assert {name: layer.plans["default"].modes for name, layer in found.items()} == {
        "encoder": {"A": "lora", "B": "lora", "C": "lora", "D": "constant", "E": "none"},
        "decoder": {"A": "none", "B": "lora", "C": "lora", "D": "vector", "E": "constant"},
    }


def test_a_path_pattern_may_switch_a_whole_layer_off():
    model = glora_model(Net(), path_pattern={"decoder": dict.fromkeys("ABCDE", "none")})
    assert not [name for name, _ in model.named_parameters() if "decoder.glora" in name]


@pytest.mark.parametrize(
    "bias, trained",
    [("none", set()), ("glora_only", {"encoder", "decoder"}), ("all", {"encoder", "decoder", "head"})],
)
def test_bias(bias, trained):
    model = glora_model(Net(), bias=bias)
    found = {n.split(".")[2] for n, p in model.named_parameters() if n.endswith("bias") and p.requires_grad}
    assert found == trained


def test_modules_to_save():
    model = glora_model(Net(), modules_to_save=["head"])
    trained = {n for n, p in model.named_parameters() if p.requires_grad and "glora_" not in n}
    assert trained == {f"base_model.model.head.modules_to_save.default.{t}" for t in ("weight", "bias")}


def test_conv1d_is_found_by_default_in_gpt2():
    found = adapted_layers(peft.get_peft_model(gpt2(), GloraConfig()))
    assert {name.rpartition(".")[2] for name in found} == {"c_attn"}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"target_modules": ["a", "b"], "exclude_modules": ["c"], "rank_pattern": {"a": 3}, "alpha": 4.0},
        {"path_pattern": {"a": {"A": "none"}}, "A_form": "product", "bias_free": "add", "layers_to_transform": [1]},
    ],
)
def test_a_configuration_survives_saving(tmp_path, settings):
    config = GloraConfig(**settings)
    config.save_pretrained(tmp_path)
    loaded = GloraConfig.from_pretrained(tmp_path)
    assert loaded == config and type(loaded) is GloraConfig
    assert type(peft.PeftConfig.from_pretrained(tmp_path)) is GloraConfig
    assert json.loads((tmp_path / "adapter_config.json").read_text())["peft_type"] == "GLORA_LAB"


def test_a_stock_configuration_is_read_as_ours(tmp_path):
    settings = {"r": 3, "target_modules": ["a"], "config_A_B": "vector", "config_C": "none", "config_D_E": "vector"}
    peft.GloraConfig(**settings).save_pretrained(tmp_path)
    loaded = GloraConfig.from_pretrained(tmp_path)
    assert type(loaded) is GloraConfig and loaded == GloraConfig(**settings)
    assert type(peft.PeftConfig.from_pretrained(tmp_path)) is peft.GloraConfig


@pytest.mark.parametrize("settings", [{"task_type": "CAUSAL_LM"}, {"inference_mode": True}, {"revision": "main"}])
def test_the_settings_of_every_peft_configuration_pass(settings):
    config = GloraConfig(**settings)
    assert all(getattr(config, name) == value for name, value in settings.items())
