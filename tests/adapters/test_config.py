"""The settings that both methods have: what a configuration says, what it refuses, and which layers it reaches."""

from __future__ import annotations

import json

import peft
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import glora_lab
from glora_lab.adapters import GloraConfig, GloraModel, GraloraConfig, GraloraModel
from glora_lab.adapters.registry import LabPeftType

from .block_models import BlockNet
from .small_models import INERT, expecting, gpt2, llama

STOCK = {GloraConfig: peft.GloraConfig, GraloraConfig: peft.GraloraConfig}
MODELS = {GloraConfig: (GloraModel, peft.GloraModel), GraloraConfig: (GraloraModel, peft.GraloraModel)}
PREFIX = {GloraConfig: "glora_", GraloraConfig: "gralora_"}
NOT_A_RANK = [0, -1, 2.5, True, "8", None]
SHARED = {
    "r": NOT_A_RANK,
    "bias": ["some", "lora_only", None, True],
    "init_weights": ["gaussian", None, 1],
    "use_rslora": ["yes", None, 1],
    "alpha": [0, -2, float("nan"), float("inf"), "16", True],
    "target_modules": ["(", "*a", 5, ["q", 5], [""], {"q": 1}],
    "exclude_modules": ["(", "[", 5, [None]],
    "modules_to_save": ["head", 5, [5], ["("]],
    "rank_pattern": [{"(": 4}, {"a": 0}, {"a": True}, {5: 4}, {"": 4}, ["a"], None],
    "alpha_pattern": [{"(": 4}, {"a": 0}, {"a": "4"}, ["a"], None],
    "layers_to_transform": [-1, True, "0", [0, "1"], [0, -1], 1.5],
    "layers_pattern": ["layers", 0, 5, [5], "("],  # the first needs layers_to_transform
}
NO_DROPOUT = [-0.1, 1.0, "0.1", True, None, float("nan")]
OWN = {
    GloraConfig: {
        "config_A_B": ["Lora", "", None, 1],
        "config_A": ["diagonal", 1, True],
        "config_B": ["diagonal", []],
        "config_C": ["constant", None],
        "config_D_E": ["lora", None],
        "config_D": ["lora"],
        "config_E": ["lora"],
        "A_form": ["matrix", None, "Product"],
        "bias_free": ["keep", None],
        "use_rslora": ["yes", None, True],  # True needs alpha
        "glora_dropout": NO_DROPOUT,
        "path_pattern": [
            {"(": {"A": "lora"}}, {"a": {"F": "lora"}}, {"a": {"D": "lora"}}, {"a": {"A": None}}, {"a": "lora"}, ["a"],
            None,
        ],
    },
    GraloraConfig: {
        "r": [*NOT_A_RANK, 31],  # 31 is not divisible by gralora_k
        "hybrid_r": [-1, 1.5, True, "8", None],
        "gralora_k": [0, -1, 2.0, True, "2", None],
        "alpha": [*SHARED["alpha"], None],
        "gralora_dropout": NO_DROPOUT,
        "fan_in_fan_out": ["no", None, 1],
        "on_indivisible": ["ignore", None, True],
        "k_pattern": [{"(": 4}, {"a": 0}, {"a": 2.0}, {"": 2}, None],
    },
}  # fmt: skip
REFUSED = [(kind, name, values) for kind, own in OWN.items() for name, values in {**SHARED, **own}.items()]
both = pytest.mark.parametrize("kind", STOCK, ids=lambda kind: kind.method)


@pytest.mark.parametrize("kind, name, value", [(k, n, v) for k, n, values in REFUSED for v in values], ids=str)
def test_a_bad_setting_is_one_value_error_with_name_and_value(kind, name, value):
    with pytest.raises(ValueError, match=f"^(r should be divisible .*: )?`{name}") as caught:
        kind(**{name: value})
    shown = value if not isinstance(value, dict | list) else next(iter(value), value)
    assert str(shown) in str(caught.value) or repr(value) in str(caught.value)
    assert " must " in str(caught.value) or " needs " in str(caught.value)


@both
@pytest.mark.parametrize("pattern", ["(", 5, [5]])
def test_a_bad_layers_pattern_beside_layers_to_transform(kind, pattern):
    with pytest.raises(ValueError, match=r"^`layers_pattern"):
        kind(target_modules=["q"], layers_to_transform=[0], layers_pattern=pattern)


@both
def test_layers_to_transform_needs_a_list_of_targets(kind):
    with pytest.raises(ValueError, match=r"^`layers_to_transform"):
        kind(target_modules=".*q", layers_to_transform=[0])


@pytest.mark.parametrize("kind, name, value", [(k, n, values[0]) for k, n, values in REFUSED], ids=str)
def test_a_field_assigned_later_is_checked_before_the_model_is_touched(kind, name, value):
    config = kind(target_modules=["encoder"])
    setattr(config, name, value)
    net = BlockNet()
    with pytest.raises(ValueError, match=f"^`{name}"):
        peft.get_peft_model(net, config)
    assert type(net.encoder) is nn.Linear and all(p.requires_grad for p in net.parameters())


@given(
    st.sampled_from(REFUSED),
    st.one_of(st.integers(max_value=-1), st.floats(max_value=-1), st.binary(), st.tuples(), st.just(object())),
)
def test_no_nonsense_gets_through(case, value):
    """A value of a wrong kind is a ValueError with the argument's name, never a crash elsewhere."""
    kind, name, _ = case
    harmless = {"target_modules", "exclude_modules", "modules_to_save", "layers_to_transform", "layers_pattern"}
    if value == () and name in harmless:
        return  # an empty list of names
    with pytest.raises(ValueError, match=f"^`{name}"):
        kind(**{name: value})


@both
def test_the_type_is_ours_and_the_entries_of_peft_stay(kind):
    ours, theirs = MODELS[kind]
    name = STOCK[kind].__name__.removesuffix("Config").upper()
    stock_type = getattr(peft.PeftType, name)
    assert kind().peft_type == LabPeftType[f"{name}_LAB"] == f"{name}_LAB"
    assert STOCK[kind]().peft_type == stock_type
    assert peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING[stock_type] is STOCK[kind]
    assert peft.mapping.PEFT_TYPE_TO_TUNER_MAPPING[stock_type] is theirs
    assert peft.mapping.PEFT_TYPE_TO_PREFIX_MAPPING[stock_type] == PREFIX[kind]
    assert peft.mapping.PEFT_TYPE_TO_PREFIX_MAPPING[f"{name}_LAB"] == PREFIX[kind]
    assert type(peft.get_peft_model(BlockNet(), STOCK[kind](target_modules=["encoder"])).base_model) is theirs
    assert type(peft.get_peft_model(BlockNet(), kind(target_modules=["encoder"])).base_model) is ours
    assert getattr(glora_lab, kind.__name__) is kind


def adapted(model: nn.Module) -> dict[str, nn.Module]:
    """Name → layer with an adapter of ours."""
    prefix, layers = "base_model.model.", {"GloraLinear", "GraloraLinear"}
    return {name.removeprefix(prefix): m for name, m in model.named_modules() if type(m).__name__ in layers}


def llama_layers(kind: type, **settings) -> dict[str, nn.Module]:
    with expecting(INERT):
        return adapted(peft.get_peft_model(llama(), kind(**{"r": 8, **settings})))


def last_words(names) -> set[str]:
    return {name.rpartition(".")[2] for name in names}


@both
def test_targets_by_name_by_pattern_and_by_default(kind):
    assert last_words(llama_layers(kind, target_modules=["q_proj", "up_proj"])) == {"q_proj", "up_proj"}
    assert list(llama_layers(kind, target_modules=r".*layers\.1.*\.k_proj")) == ["model.layers.1.self_attn.k_proj"]
    assert last_words(llama_layers(kind)) == {"q_proj", "v_proj"}
    found = llama_layers(kind, target_modules="all-linear")  # all but the output layer
    assert len(found) == 2 * 7 and "lm_head" not in found


@both
def test_excluded_modules(kind):
    assert set(llama_layers(kind, target_modules=["q_proj", "v_proj"], exclude_modules=["v_proj"])) == {
        "model.layers.0.self_attn.q_proj",
        "model.layers.1.self_attn.q_proj",
    }
    found = llama_layers(kind, target_modules=["q_proj"], exclude_modules=r".*layers\.1\..*")
    assert list(found) == ["model.layers.0.self_attn.q_proj"]


@both
@pytest.mark.parametrize("layers", [1, [1]])
@pytest.mark.parametrize("pattern", [None, "layers", ["layers"]])
def test_layers_to_transform(kind, layers, pattern):
    found = llama_layers(kind, target_modules=["q_proj"], layers_to_transform=layers, layers_pattern=pattern)
    assert list(found) == ["model.layers.1.self_attn.q_proj"]


@both
@pytest.mark.parametrize(
    "bias, trained", [("none", []), ("only", ["encoder", "decoder"]), ("all", [*BlockNet()._modules])]
)
def test_bias(kind, bias, trained):
    config = kind(target_modules=["encoder", "decoder"], bias=PREFIX[kind] + bias if bias == "only" else bias)
    model = peft.get_peft_model(BlockNet(), config)
    found = {n.split(".")[2] for n, p in model.named_parameters() if n.endswith("bias") and p.requires_grad}
    assert found == set(trained)


@both
def test_modules_to_save(kind):
    model = peft.get_peft_model(BlockNet(), kind(target_modules=["encoder"], modules_to_save=["head"]))
    trained = {n for n, p in model.named_parameters() if p.requires_grad and PREFIX[kind] not in n}
    assert trained == {f"base_model.model.head.modules_to_save.default.{t}" for t in ("weight", "bias")}


@both
def test_conv1d_is_found_by_default_in_gpt2(kind):
    with expecting("fan_in_fan_out is set to False but"):
        assert last_words(adapted(peft.get_peft_model(gpt2(), kind()))) == {"c_attn"}


@pytest.mark.parametrize(
    "kind, settings",
    [
        (GloraConfig, {}),
        (GloraConfig, {"target_modules": ["a", "b"], "exclude_modules": ["c"], "rank_pattern": {"a": 3}, "alpha": 4.0}),
        (GloraConfig, {"path_pattern": {"a": {"A": "none"}}, "A_form": "product", "bias_free": "add"}),
        (GloraConfig, {"layers_to_transform": [1]}),
        (GraloraConfig, {}),
        (GraloraConfig, {"k_pattern": {"a": 4}, "rank_pattern": {"a": 8}, "on_indivisible": "skip"}),
        (GraloraConfig, {"use_rslora": True}),
    ],
)
def test_a_configuration_survives_saving(tmp_path, kind, settings):
    config = kind(**settings)
    config.save_pretrained(tmp_path)
    loaded = kind.from_pretrained(tmp_path)
    assert loaded == config and type(loaded) is kind
    assert type(peft.PeftConfig.from_pretrained(tmp_path)) is kind
    assert json.loads((tmp_path / "adapter_config.json").read_text())["peft_type"] == kind.lab_type.value


@pytest.mark.parametrize(
    "kind, settings",
    [
        (GloraConfig, {"r": 3, "target_modules": ["a"], "config_A_B": "vector", "config_C": "none"}),
        (GloraConfig, {"r": 3, "target_modules": ["a"], "config_D_E": "vector"}),
        (GraloraConfig, {"r": 9, "gralora_k": 3, "hybrid_r": 2, "alpha": 5, "gralora_dropout": 0.1}),
        (GraloraConfig, {"target_modules": ["a"]}),
    ],
)
def test_a_stock_configuration_is_read_as_ours(tmp_path, kind, settings):
    STOCK[kind](**settings).save_pretrained(tmp_path)
    loaded = kind.from_pretrained(tmp_path)
    assert type(loaded) is kind and loaded == kind(**settings)
    assert type(peft.PeftConfig.from_pretrained(tmp_path)) is STOCK[kind]


@both
@pytest.mark.parametrize("settings", [{"task_type": "CAUSAL_LM"}, {"inference_mode": True}, {"revision": "main"}])
def test_the_settings_of_every_peft_configuration_pass(kind, settings):
    config = kind(**settings)
    assert all(getattr(config, name) == value for name, value in settings.items())
