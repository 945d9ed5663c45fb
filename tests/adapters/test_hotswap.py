"""`hotswap_adapter`: another checkpoint under the same name, in place where the shapes are the same."""

from __future__ import annotations

import copy

import peft
import pytest
import torch
from peft.utils.hotswap import hotswap_adapter, prepare_model_for_compiled_hotswap
from torch import Tensor, nn

from glora_lab.adapters import GloraConfig, GraloraConfig, load_adapter

from .block_models import BlockNet
from .small_models import GAINED_BIAS, bits, expecting, same_bits

X = torch.randn(4, 24, generator=torch.Generator().manual_seed(2))
TARGETS = {"target_modules": ["encoder", "decoder"], "init_weights": False}
OLD = {"GLoRA": GloraConfig(r=4, **TARGETS), "GraLoRA": GraloraConfig(r=8, gralora_k=2, **TARGETS)}
ALIKE = {
    "GLoRA": {"alpha": 3, "glora_dropout": 0.1, "r": 4},
    "GraLoRA": {"alpha": 3, "gralora_dropout": 0.1, "r": 8, "gralora_k": 2},
}
OTHERS = {
    "GLoRA": [
        {"r": 2},
        {"r": 6, "alpha": 2},
        {"config_A_B": "vector", "config_C": "none"},
        {"path_pattern": {"encoder": {"A": "none", "E": "vector"}}},
        {"A_form": "product"},
    ],
    "GraLoRA": [{"r": 4}, {"r": 16, "gralora_k": 4}, {"hybrid_r": 3}, {"k_pattern": {"encoder": 1}}],
}
each_kind = pytest.mark.parametrize("kind", OLD)


def pair(kind: str, **settings) -> tuple[nn.Module, peft.PeftModel, peft.PeftModel]:
    """A net, with the old adapter on it, and with one of these settings."""
    net = BlockNet()
    old = peft.get_peft_model(copy.deepcopy(net), copy.deepcopy(OLD[kind])).eval()
    new = peft.get_peft_model(copy.deepcopy(net), type(OLD[kind])(**{**TARGETS, **settings})).eval()
    return net, old, new


def tensors(model: nn.Module) -> dict[str, Tensor]:
    return {name: p for name, p in model.named_parameters() if "glora_" in name or "gralora_" in name}


@each_kind
@pytest.mark.parametrize("compiled", [False, True])
def test_the_same_shapes_are_written_in_place(kind, compiled, tmp_path):
    _, model, new = pair(kind, **ALIKE[kind])
    new.save_pretrained(tmp_path)
    parameters, flags = tensors(model), {n: p.requires_grad for n, p in model.named_parameters()}
    with expecting("`torch.jit.script"):
        hotswap_adapter(torch.compile(model) if compiled else model, str(tmp_path), "default")
    assert torch.equal(model(X), new(X))
    now = tensors(model)
    assert all(now[name] is parameters[name] for name in parameters) and now.keys() == parameters.keys()
    assert {n: p.requires_grad for n, p in model.named_parameters()} == flags


@pytest.mark.parametrize(("kind", "index"), [(kind, i) for kind, some in OTHERS.items() for i in range(len(some))])
def test_another_rank_or_mode(kind, index, tmp_path):
    """And what is saved afterwards is the new adapter, configuration included."""
    net, model, new = pair(kind, **OTHERS[kind][index])
    new.save_pretrained(tmp_path / "new")
    hotswap_adapter(model, str(tmp_path / "new"), "default")
    assert torch.equal(model(X), new(X))
    assert all(p.requires_grad for p in tensors(model).values())
    assert model.peft_config["default"].inference_mode is False
    model.save_pretrained(tmp_path / "again")
    assert torch.equal(load_adapter(net, tmp_path / "again")(X), new(X))


@each_kind
def test_the_other_adapters_are_left_alone(kind, tmp_path):
    _, model, new = pair(kind, **OTHERS[kind][0])
    new.save_pretrained(tmp_path)
    model.add_adapter("second", type(OLD[kind])(**TARGETS))
    model.set_adapter("second")
    second, flags = model(X), {n: p.requires_grad for n, p in model.named_parameters() if ".second" in n}
    hotswap_adapter(model, str(tmp_path), "default")
    assert torch.equal(model(X), second)
    assert {n: p.requires_grad for n, p in model.named_parameters() if ".second" in n} == flags
    model.set_adapter("default")
    assert torch.equal(model(X), new(X))


@each_kind
def test_precision_is_that_of_the_adapter(kind, tmp_path):
    _, model, new = pair(kind, **OTHERS[kind][0])
    new.save_pretrained(tmp_path)
    model.bfloat16()
    hotswap_adapter(model, str(tmp_path), "default")
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}


def refusals(kind: str) -> dict[str, dict]:
    only = "glora_only" if kind == "GLoRA" else "gralora_only"
    return {
        r"unexpected keys found: base_model.model.head.g\w*_A.default": {
            "target_modules": ["encoder", "decoder", "head"], "gralora_k": 1
        },
        r"missing keys found: base_model.model.decoder.g\w*_A.default": {"target_modules": ["encoder"]},
        "`modules_to_save` .*of the new adapter": {"modules_to_save": ["head"]},
        rf"`bias` \(='{only}'\) of the new adapter": {"bias": only},
    }  # fmt: skip


@each_kind
@pytest.mark.parametrize("case", range(4))
def test_what_does_not_fit_is_refused_and_nothing_changes(kind, case, tmp_path):
    words, settings = list(refusals(kind).items())[case]
    if kind == "GLoRA":
        settings = {name: value for name, value in settings.items() if name != "gralora_k"}
    _, model, new = pair(kind, **settings)
    new.save_pretrained(tmp_path)
    before, held, parameters = bits(model), model.peft_config["default"], tensors(model)
    with pytest.raises((ValueError, RuntimeError), match=words):
        hotswap_adapter(model, str(tmp_path), "default")
    assert same_bits(model, before) and model.peft_config["default"] is held
    assert all(parameter is parameters[name] for name, parameter in tensors(model).items())


@each_kind
def test_a_damaged_shape_is_named(kind, tmp_path):
    _, model, new = pair(kind, **OTHERS[kind][0])
    new.save_pretrained(tmp_path)
    config = type(OLD[kind]).from_pretrained(tmp_path)
    config.r = 12
    config.save_pretrained(tmp_path)
    before = bits(model)
    with pytest.raises(ValueError, match=r"`base_model.model.\w+\.g\S+` \(=\[.*must be \[.*of the new adapter"):
        hotswap_adapter(model, str(tmp_path), "default")
    assert same_bits(model, before)


@each_kind
def test_a_merged_or_unknown_adapter_is_refused(kind, tmp_path):
    _, model, new = pair(kind, **ALIKE[kind])
    new.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"`adapter_name` \(='other'\) is no adapter"):
        hotswap_adapter(model, str(tmp_path), "other")
    model.merge_adapter()
    before = bits(model)
    with pytest.raises(ValueError, match="Cannot hot-swap adapter 'default' because it is currently merged"):
        hotswap_adapter(model, str(tmp_path), "default")
    assert same_bits(model, before)


def test_beside_a_merged_adapter_that_gave_the_layer_a_bias(tmp_path):
    net = BlockNet(bias=False)
    settings = {**TARGETS, "bias_free": "add", "config_D_E": "none", "r": 4}
    model = peft.get_peft_model(copy.deepcopy(net), GloraConfig(**settings)).eval()
    model.add_adapter("second", GloraConfig(**settings))
    new = peft.get_peft_model(net, GloraConfig(**{**settings, "config_C": "none"})).eval()
    new.save_pretrained(tmp_path)
    with expecting(GAINED_BIAS):
        model.merge_adapter(["second"])
    hotswap_adapter(model, str(tmp_path), "default")
    model.unmerge_adapter()
    assert torch.equal(model(X), new(X))


def test_another_kind_is_refused_in_pefts_words(tmp_path):
    _, model, _ = pair("GLoRA")
    _, other, _ = pair("GraLoRA")
    other.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="Incompatible PEFT types found: GLORA_LAB and GRALORA_LAB"):
        hotswap_adapter(model, str(tmp_path), "default")
    stock = peft.get_peft_model(BlockNet(), peft.GraloraConfig(target_modules=["encoder"]))
    stock.save_pretrained(tmp_path / "stock")
    with pytest.raises(ValueError, match=r"Hotswapping only supports LORA.*GRALORA was passed"):
        hotswap_adapter(stock, str(tmp_path / "stock"), "default")


def test_padding_for_a_compiled_model_is_loras_and_says_so():
    """There is nothing to prepare: a swap of the same shapes compiles nothing anew."""
    with pytest.raises(ValueError, match="No adapter layers found on the model"):
        prepare_model_for_compiled_hotswap(pair("GLoRA")[1], target_rank=8)


def test_lora_is_swapped_as_ever(tmp_path):
    def lora() -> peft.PeftModel:
        torch.manual_seed(1)
        return peft.get_peft_model(BlockNet(), peft.LoraConfig(target_modules=["encoder"], init_lora_weights=False))

    model, new = lora().eval(), lora().eval()
    nn.init.normal_(new.base_model.model.encoder.lora_B["default"].weight)
    new.save_pretrained(tmp_path)
    assert not torch.equal(model(X), new(X))
    hotswap_adapter(model, str(tmp_path), "default")
    assert torch.equal(model(X), new(X))
