"""A layer that already carries a LoRA keeps it: W0 is what the inner layer computes."""

from __future__ import annotations

import copy
import itertools

import peft
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glora_lab.adapters import GloraConfig, GloraLinear

from .small_models import (
    CHOICES,
    GAINED_BIAS,
    INERT,
    MERGED_ALREADY,
    SECOND_TUNER,
    SINGLES,
    Net,
    expecting,
    gpt2,
    largest_difference,
    named,
)

X = torch.randn(4, 6, dtype=torch.double, generator=torch.Generator().manual_seed(2))
EVERY_PATH = {"A": "lora", "B": "lora", "C": "lora", "D": "vector", "E": "vector"}
TWICE = "You are trying to modify a model with PEFT for a second time"


def over_lora(choice: dict[str, str], *, bias: bool = True, lora: dict | None = None, **settings) -> GloraLinear:
    """The encoder of a Net, with a LoRA and over it our adapter of the same name."""
    lora_config = peft.LoraConfig(r=2, target_modules=["encoder"], init_lora_weights=False, **(lora or {}))
    net = peft.get_peft_model(Net(bias).double(), lora_config).eval().base_model.model
    config = GloraConfig.only(**choice, r=3, target_modules=["encoder"], init_weights=False, **settings)
    with expecting(SECOND_TUNER, INERT, TWICE):
        layer = peft.get_peft_model(net, config).eval().base_model.model.encoder
    assert isinstance(layer, GloraLinear) and isinstance(layer.base_layer, peft.tuners.lora.Linear)
    return layer


def effective(inner: nn.Module) -> tuple[Tensor, Tensor]:
    """(W, b) of what an inner layer computes, found by asking it."""
    bias = inner(torch.zeros(6, dtype=torch.double))
    return (inner(torch.eye(6, dtype=torch.double)) - bias).T, bias


@pytest.mark.parametrize("form", ["elementwise", "product"])
@pytest.mark.parametrize(
    "lora",
    [{}, {"use_dora": True}, {"lora_bias": True}],
    ids=["LoRA", "DoRA", "LoRA with a bias"],  # the third is W0·x + b0 with another b0 than the layer beneath has
)
def test_the_formula_holds_over_what_the_inner_layer_computes(form, lora):
    layer = over_lora(EVERY_PATH, lora=lora, A_form=form)
    weight, bias = effective(layer.base_layer)
    alone = GloraLinear(nn.Linear(6, 8).double(), "default", layer_config(EVERY_PATH, form))
    alone.base_layer.weight.data, alone.base_layer.bias.data = weight.detach(), bias.detach()
    alone.load_state_dict({n: t for n, t in layer.state_dict().items() if n.startswith("glora_")}, strict=False)
    assert largest_difference(layer(X), alone(X)) < 1e-12


def layer_config(choice: dict[str, str], form: str) -> GloraConfig:
    return GloraConfig.only(**choice, r=3, A_form=form)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_inner_dropout_does_not_change_w0(dropout):
    """While training, the inner adapter's dropout falls on its own output and not on the outer paths' W0."""
    layer = over_lora({**dict.fromkeys("ABDE", "none"), "C": "vector"}, lora={"lora_dropout": dropout}).train()
    torch.manual_seed(1)
    inner = layer.base_layer(X)
    torch.manual_seed(1)
    weight, _ = effective(copy.deepcopy(layer.base_layer).eval())
    torch.manual_seed(1)
    assert largest_difference(layer(X) - inner, (weight @ layer.glora_C["default"].X.flatten()).expand(4, 8)) < 1e-12
    assert layer.base_layer.training


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("order", ["outer first", "inner first"])
def test_merging_in_both_orders(order, bias):
    for choice in [EVERY_PATH, *SINGLES]:
        layer = over_lora(choice, bias=bias, bias_free="add") if bias or choice["D"] == "none" else None
        if layer is None:
            continue
        expected, weight = layer(X), layer.get_base_layer().weight.clone()
        inner, outer = layer.base_layer, layer
        with expecting(GAINED_BIAS):
            for one in (outer, inner) if order == "outer first" else (inner, outer):
                one.merge()
                assert largest_difference(layer(X), expected) < 1e-12, named(choice)
        assert largest_difference(layer.get_base_layer()(X), expected) < 1e-12, named(choice)
        assert not torch.equal(layer.get_base_layer().weight, weight)


@pytest.mark.parametrize("choice", [EVERY_PATH, {**dict.fromkeys("ABCD", "none"), "E": "vector"}], ids=named)
@pytest.mark.parametrize("merges", list(itertools.permutations(["outer", "inner"])))
@pytest.mark.parametrize("unmerges", list(itertools.permutations(["outer", "inner"])))
def test_unmerging_in_both_orders(choice, merges, unmerges):
    layer = over_lora(choice)
    layers = {"outer": layer, "inner": layer.base_layer}
    expected, weight = layer(X), layer.get_base_layer().weight.clone()
    for name in merges:
        layers[name].merge()
    for name in unmerges:
        layers[name].unmerge()
        assert largest_difference(layer(X), expected) < 1e-12, name
    # stock LoRA subtracts what it added, to rounding
    assert largest_difference(layer.get_base_layer().weight, weight) < 1e-14


def test_the_outer_adapter_alone_gives_exact_bits_back():
    layer = over_lora(EVERY_PATH)
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    layer.merge()
    layer.unmerge()
    after = layer.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_an_inner_merge_between_two_outer_merges():
    layer = over_lora(EVERY_PATH)
    layer.update_layer("second", layer_config({**EVERY_PATH, "A": "vector"}, "product"))
    for path in layer.paths("second").values():
        nn.init.normal_(path.X if hasattr(path, "X") else path.Xd)
    layer.set_adapter(["default", "second"])
    expected = layer(X)
    terms = layer.weight_terms("second")
    layer.merge(adapter_names=["default"])
    layer.base_layer.merge()
    assert all(torch.allclose(terms[path], term) for path, term in layer.weight_terms("second").items())
    with expecting(MERGED_ALREADY):
        layer.merge(adapter_names=["second"])
    assert largest_difference(layer(X), expected) < 1e-12
    layer.unmerge(["default"])
    layer.base_layer.unmerge()
    layer.unmerge()
    assert largest_difference(layer(X), expected) < 1e-12


def test_safe_merge_over_a_broken_inner_adapter_touches_neither():
    layer = over_lora(EVERY_PATH)
    layer.base_layer.lora_B["default"].weight.data[0, 0] = float("nan")
    before = layer.get_base_layer().weight.clone()
    with pytest.raises(ValueError, match="encoder"):
        layer.merge(safe_merge=True)
    assert torch.equal(layer.get_base_layer().weight, before) and not layer.merged


def two_tuners() -> tuple[peft.PeftModel, Tensor, Tensor]:
    """GPT-2 with a LoRA and GLoRA over it; its ids and what it says about them."""
    ids = torch.arange(3, 9)[None]
    lora = peft.LoraConfig(target_modules=["c_attn", "c_fc"], init_lora_weights=False, fan_in_fan_out=True)
    inner = peft.get_peft_model(gpt2(), lora).eval().base_model.model
    with expecting(SECOND_TUNER, TWICE):
        model = peft.get_peft_model(inner, GloraConfig(r=3, target_modules=["c_attn"], init_weights=False)).eval()
    return model, ids, model(ids).logits


def test_unloading_leaves_the_inner_adapter():
    model, ids, expected = two_tuners()
    with model.disable_adapter():
        pass
    inner = model.base_model.model.transformer.h[0].attn.c_attn.base_layer
    unloaded = model.unload()
    assert unloaded.transformer.h[0].attn.c_attn is inner
    assert not torch.allclose(unloaded(ids).logits, expected)


def test_merge_and_unload_merges_ours_and_keeps_the_inner_adapter():
    model, ids, expected = two_tuners()
    merged = model.merge_and_unload()
    assert isinstance(merged.transformer.h[0].attn.c_attn, peft.tuners.lora.Linear)
    assert largest_difference(merged(ids).logits, expected) < 1e-5


def test_merging_a_model_merges_both():
    model, ids, expected = two_tuners()
    model.merge_adapter()
    layer = model.base_model.model.transformer.h[0].attn.c_attn
    assert layer.merged and layer.base_layer.merged
    assert largest_difference(model(ids).logits, expected) < 1e-5
    model.unmerge_adapter()
    assert not layer.merged and not layer.base_layer.merged
    assert largest_difference(model(ids).logits, expected) < 1e-5


def test_our_paths_train_and_the_weight_beneath_both_does_not():
    layer = over_lora(EVERY_PATH)
    layer(X).sum().backward()
    grads = {name: p.grad is not None for name, p in layer.named_parameters()}
    assert all(grads[name] for name in grads if name.startswith("glora_"))
    assert not grads["base_layer.base_layer.weight"] and not grads["base_layer.base_layer.bias"]


def test_mixed_batches_reach_the_outer_adapter():
    model, _, _ = two_tuners()
    ids = torch.randint(3, 64, (2, 5))
    mixed = model(ids, adapter_names=["default", "__base__"]).logits
    assert largest_difference(mixed[0], model(ids).logits[0]) < 1e-5
    for module in model.modules():
        if isinstance(module, GloraLinear):
            module.enable_adapters(False)
    assert largest_difference(mixed[1], model(ids).logits[1]) < 1e-5


def test_initialisation_is_a_no_op_over_a_lora():
    for choice in CHOICES[::7]:
        layer = over_lora(EVERY_PATH)
        layer.update_layer("default", layer_config({**choice, "B": "lora"}, "elementwise"))
        assert torch.equal(layer(X), layer.base_layer(X)), named(choice)


def test_weight_of_the_inner_layer_as_a_matrix():
    layer = over_lora(EVERY_PATH)
    weight, _ = effective(layer.base_layer)
    base = layer.frozen_base()
    assert largest_difference(base.matrix(), weight) < 1e-12
    assert largest_difference(base.product(X), F.linear(X, weight)) < 1e-12
