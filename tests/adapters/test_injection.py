"""tuner.py and glora_model.py: an injection succeeds, or the model is as it was."""

from __future__ import annotations

import warnings

import peft
import pytest
import torch
from peft.utils.other import ModulesToSaveWrapper
from torch import nn

from glora_lab.adapters import GloraConfig, GloraLinear, GloraModel

from .small_models import INERT, SECOND_TUNER, Net, add, bits, expecting, glora_model, gpt2, llama, same_bits

ALL_OFF = {"config_A_B": "none", "config_C": "none", "config_D_E": "none"}


class Zoo(Net):
    """Net, with layers that GLoRA cannot carry."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(4, 6)
        self.convolution = nn.Conv1d(2, 2, 1)
        self.attention = nn.MultiheadAttention(4, 1)
        self.blocks = nn.ModuleList([nn.Linear(3, 3)])


def fingerprint(model: nn.Module) -> dict[str, object]:
    """Everything about a model that an injection may change, but for the tensors' values."""
    state: dict[str, object] = {}
    for name, module in model.named_modules():
        state[f"{name}: module"] = (id(module), type(module), module.training)
        state[f"{name}: children"] = list(module._modules)
        state[f"{name}: hooks"] = (len(module._forward_hooks), len(module._forward_pre_hooks))
        for attribute in (
            "_active_adapter",
            "_adapters",
            "_disable_adapters",
            "merged_adapters",
            "r",
            "scaling",
            "plans",
        ):
            value = vars(module).get(attribute)
            state[f"{name}: {attribute}"] = value.copy() if isinstance(value, dict | list | set) else value
        for attribute in ("targeted_module_names", "active_adapter"):
            value = vars(module).get(attribute)
            state[f"{name}: {attribute}"] = value.copy() if isinstance(value, list) else value
        if isinstance(vars(module).get("peft_config"), dict):
            state[f"{name}: peft_config"] = {key: id(config) for key, config in module.peft_config.items()}
    for name, parameter in model.named_parameters():
        state[f"{name}: parameter"] = (id(parameter), parameter.requires_grad)
    return state


class Stop(BaseException):
    """As KeyboardInterrupt, which pytest would take for itself."""


FAILURES = {
    "matches nothing": ({"target_modules": ["nowhere"]}, "`target_modules`.*nowhere.*encoder"),
    "an empty list": ({"target_modules": []}, "`target_modules`"),
    "all excluded": ({"exclude_modules": ["encoder", "decoder"]}, "matches no layer.*exclude_modules"),
    "no default for this model": ({"target_modules": None}, "target_modules"),
    "an embedding": ({"target_modules": ["encoder", "embedding"]}, r"embedding \(Embedding\)"),
    "a convolution": ({"target_modules": ["convolution", "decoder"]}, r"convolution \(Conv1d\)"),
    "a layer that is never called": (
        {"target_modules": ["out_proj", "encoder"]},
        r"no adapter can act on: 1 layer \(attention.out_proj\): nn.MultiheadAttention reads.*`exclude_modules`",
    ),
    "a container": ({"target_modules": ["blocks", "encoder"]}, r"blocks \(ModuleList\)"),
    "nothing to train": (ALL_OFF, "switched off: A, B, C, D, E"),
    "a setting assigned later": ({"r": 0}, "`r`"),
}


def config_for(settings: dict[str, object]) -> GloraConfig:
    config = GloraConfig(target_modules=["encoder", "decoder"])
    for name, value in settings.items():
        setattr(config, name, value)
    return config


@pytest.mark.parametrize("why", FAILURES)
def test_a_refused_get_peft_model_leaves_the_model_as_it_was(why):
    settings, message = FAILURES[why]
    model = Zoo().train()
    before, tensors = fingerprint(model), bits(model)
    with pytest.raises(ValueError, match=message):
        peft.get_peft_model(model, config_for(settings))
    assert fingerprint(model) == before and same_bits(model, tensors) and not hasattr(model, "peft_config")


@pytest.mark.parametrize("why", FAILURES)
def test_a_refused_add_adapter_leaves_the_model_as_it_was(why):
    settings, message = FAILURES[why]
    model = glora_model(Zoo(), modules_to_save=["head"])
    before, tensors = fingerprint(model), bits(model)
    with pytest.raises(ValueError, match=message):
        model.add_adapter("second", config_for(settings))
    assert fingerprint(model) == before and same_bits(model, tensors)
    add(model, "second")  # and the name is free


# failures in PEFT's own steps, after our layers are in place
LATE = {
    "a list of modules to save": {"modules_to_save": ["blocks"]},
    "a list of modules to save, after one that can be": {"modules_to_save": ["head", "blocks"]},
    "more layers than the first adapter": {"target_modules": ["encoder", "0"], "modules_to_save": ["blocks"]},
}


@pytest.mark.parametrize("why", LATE)
@pytest.mark.parametrize("first", [True, False], ids=["get_peft_model", "add_adapter"])
def test_a_late_failure_is_rolled_back(why, first):
    model = Zoo() if first else glora_model(Zoo(), modules_to_save=["head"])
    config = GloraConfig(**{"target_modules": ["encoder", "decoder"], **LATE[why]})
    before, tensors = fingerprint(model), bits(model)
    with pytest.raises((TypeError, ValueError)):
        peft.get_peft_model(model, config) if first else model.add_adapter("second", config)
    assert fingerprint(model) == before and same_bits(model, tensors)


@pytest.mark.parametrize("error", [RuntimeError, Stop])
@pytest.mark.parametrize("where", ["second layer", "modules_to_save", "report"])
@pytest.mark.parametrize("first", [True, False], ids=["get_peft_model", "add_adapter"])
def test_an_interruption_is_rolled_back(where, error, first, monkeypatch):
    model = Zoo() if first else glora_model(Zoo(), modules_to_save=["head"])
    before, tensors = fingerprint(model), bits(model)
    calls = []

    def interrupted(original, at):
        def wrapped(*args, **kwargs):
            calls.append(1)
            if len(calls) == at:
                raise error("in the middle")
            return original(*args, **kwargs)

        return wrapped

    target, name, at = {
        "second layer": (GloraLinear, "update_layer", 2),
        "modules_to_save": (ModulesToSaveWrapper, "update", 1),
        "report": (GloraModel, "report", 1),
    }[where]
    monkeypatch.setattr(target, name, interrupted(getattr(target, name), at))
    config = GloraConfig(target_modules=["encoder", "decoder"], modules_to_save=["head"])
    with pytest.raises(error, match="in the middle"):
        peft.get_peft_model(model, config) if first else model.add_adapter("second", config)
    assert fingerprint(model) == before and same_bits(model, tensors)


def test_a_failure_over_a_model_that_carries_a_lora_leaves_the_lora():
    lora = peft.get_peft_model(Net(), peft.LoraConfig(target_modules=["encoder"]))
    before, tensors = fingerprint(lora), bits(lora)
    for settings in ({"target_modules": ["nowhere"]}, {"modules_to_save": ["encoder"]}):
        with pytest.raises((TypeError, ValueError)), expecting(SECOND_TUNER, "You are trying to modify"):
            peft.get_peft_model(lora.base_model.model, config_for(settings))
        assert fingerprint(lora) == before and same_bits(lora, tensors)


def test_a_warning_turned_error_leaves_the_model_as_it_was():
    net = Net(bias=False)
    before = fingerprint(net)
    with warnings.catch_warnings(), pytest.raises(UserWarning, match=INERT):
        warnings.simplefilter("error")
        glora_model(net)
    assert fingerprint(net) == before


def test_bias_free_layers_are_named_once_with_their_inert_paths():
    with pytest.warns(UserWarning, match=INERT) as caught:
        peft.get_peft_model(llama(), GloraConfig(target_modules=["q_proj", "lm_head"]))
    (said,) = [str(warning.message) for warning in caught if INERT in str(warning.message)]
    for name in ("model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj", "lm_head", "C, E", "D"):
        assert name in said


@pytest.mark.parametrize(
    "settings, inert",
    [
        ({"bias_free": "add"}, "D "),
        ({"bias_free": "add", "config_D": "none"}, None),
        ({"config_C": "none", "config_D_E": "none"}, None),
        ({"config_C": "none", "config_D": "none"}, "E "),
    ],
)
def test_only_paths_that_were_asked_for_are_reported(settings, inert):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        glora_model(Net(bias=False), **settings)
    assert [str(w.message) for w in caught if inert is None] == []
    if inert:
        assert f"add no parameters: {inert}" in str(caught[0].message)


def test_add_keeps_e_and_c_alive_on_bias_free_layers():
    with expecting(INERT):
        dropped = glora_model(Net(bias=False), bias_free="drop")
        added = glora_model(Net(bias=False), bias_free="add")
    found = [{n.split(".")[3] for n, _ in m.named_parameters() if "glora_" in n} for m in (dropped, added)]
    assert found == [{"glora_A", "glora_B"}, {"glora_A", "glora_B", "glora_C", "glora_E"}]


@pytest.mark.parametrize(
    "bias, settings, why",
    [
        (True, ALL_OFF, "switched off: A, B, C, D, E"),
        (False, {"config_A_B": "none"}, "C .*no bias.*bias_free"),
        (False, {"config_A_B": "none", "config_C": "none", "config_E": "none", "bias_free": "add"}, "D .*no bias"),
        (False, {**ALL_OFF, "bias": "glora_only"}, "switched off"),
        (False, {**ALL_OFF, "bias": "all"}, "switched off"),
        (True, {**ALL_OFF, "modules_to_save": ["nowhere"]}, "switched off"),
    ],
)
def test_nothing_to_train_is_an_error_that_says_why(bias, settings, why):
    with pytest.raises(ValueError, match=f"nothing to train.*{why}"):
        glora_model(Net(bias), **settings)


@pytest.mark.parametrize("settings", [{"modules_to_save": ["attention"]}, {"bias": "all"}, {"bias": "glora_only"}])
def test_a_head_or_a_bias_alone_is_something_to_train(settings):
    model = glora_model(Zoo(), **ALL_OFF, **settings)
    assert any(p.requires_grad for p in model.parameters())


def test_a_second_adapter_is_neither_active_nor_trained():
    model = glora_model(Net())
    add(model, "second")
    assert model.active_adapters == ["default"]
    assert all(p.requires_grad == (".default." in name) for name, p in model.named_parameters())
    model.set_adapter("second")
    assert all(p.requires_grad == (".second." in name) for name, p in model.named_parameters())


def test_adding_a_name_twice_is_refused():
    model = glora_model(Net())
    before = fingerprint(model)
    with pytest.raises(ValueError, match="already exists"):
        add(model, "default")
    assert fingerprint(model) == before


@pytest.mark.parametrize("autocast", [True, False])
def test_adapters_over_bfloat16_are_float32_unless_told_otherwise(autocast):
    config = GloraConfig(target_modules=["encoder"], init_weights=False)
    model = peft.get_peft_model(Net().bfloat16(), config, autocast_adapter_dtype=autocast)
    expected = torch.float32 if autocast else torch.bfloat16
    assert {p.dtype for name, p in model.named_parameters() if "glora_" in name} == {expected}
    assert model(torch.randn(2, 6).bfloat16()).dtype == torch.bfloat16


def test_injection_without_a_peft_model():
    net, x = Net(), torch.randn(4, 6)
    expected = net(x)
    peft.inject_adapter_in_model(GloraConfig(target_modules=["encoder"]), net)
    assert isinstance(net.encoder, GloraLinear) and torch.equal(net(x), expected)


def test_the_transformers_integration():
    model = gpt2()
    model.add_adapter(GloraConfig(init_weights=False))
    assert isinstance(model.transformer.h[0].attn.c_attn, GloraLinear)


def test_peft_can_report_the_state_of_a_model():
    model = glora_model(Net())
    add(model, "second")
    status = model.get_model_status()
    assert (status.adapter_model_type, status.num_adapter_layers) == ("GloraModel", 2)
    assert status.available_adapters == ["default", "second"] and status.merged_adapters == []
    assert status.requires_grad == {"default": True, "second": False}
