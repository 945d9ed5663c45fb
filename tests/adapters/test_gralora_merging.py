"""Merging GraLoRA, beside test_merging.py: every k, low precision, over other adapters, and as a LoRA."""

from __future__ import annotations

import copy
import itertools

import peft
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glora_lab.adapters import GloraConfig, GraloraLinear

from .block_models import BASES, KS, BlockNet, config, encoder, gralora_layer, gralora_model, stock_model
from .small_models import SECOND_TUNER, bits, expecting, largest_difference, same_bits
from .test_merging import base_bits, same_base

X = torch.randn(4, 24, dtype=torch.double, generator=torch.Generator().manual_seed(2))
TWICE = "You are trying to modify a model with PEFT for a second time"


@pytest.mark.parametrize("hybrid_r", [0, 3])
@pytest.mark.parametrize("kind", BASES)
@pytest.mark.parametrize("k", KS)
def test_merged_equals_unmerged(k, kind, hybrid_r):
    layer = gralora_layer(BASES[kind](24, 48).double(), gralora_k=k, hybrid_r=hybrid_r)
    before, expected, weight = base_bits(layer), layer(X), layer.base_layer.weight.clone()
    delta = layer.get_delta_weight("default")
    layer.merge(safe_merge=True)
    assert largest_difference(layer(X), expected) < 1e-12 and largest_difference(layer(X), layer.base_layer(X)) == 0
    assert torch.equal(layer.base_layer.weight, weight + delta)
    assert torch.equal(layer.get_delta_weight("default"), delta)
    layer.unmerge()
    assert same_base(layer, before) and torch.equal(layer(X), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_the_base_comes_back_after_many_cycles_where_stock_drifts(dtype):
    ours = gralora_layer(nn.Linear(24, 48).to(dtype))
    stock = encoder(stock_model(BlockNet().to(dtype)))
    for layer, drifts in ((ours, False), (stock, True)):
        before = layer.base_layer.weight.clone()
        for _ in range(30):
            layer.merge()
            layer.unmerge()
        assert torch.equal(layer.base_layer.weight, before) != drifts


def merge_error(layer: nn.Module) -> float:
    """Root mean square distance of the merged weight from the one computed in float64."""
    exact = copy.deepcopy(layer).double()
    exact.merge()
    layer.merge()
    return (layer.base_layer.weight.double() - exact.base_layer.weight).pow(2).mean().sqrt().item()


def fixed(a: Tensor, b: Tensor, added: Tensor) -> None:
    """Fill a pair of factors so that what they add has a tenth of a weight's size."""
    nn.init.normal_(a)
    nn.init.normal_(b)
    with torch.no_grad():
        b.mul_(0.1 * 256**-0.5 / added().double().pow(2).mean().sqrt().item())


@pytest.mark.parametrize("adapter", ["float32", "as the base"])
@pytest.mark.parametrize("k", [2, 4, 8])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_a_low_precision_merge_is_no_worse_than_loras(dtype, k, adapter):
    adapter_dtype = torch.float32 if adapter == "float32" else dtype
    base = nn.Linear(256, 256).to(dtype)
    ours = gralora_layer(copy.deepcopy(base), gralora_k=k, r=16, alpha=16)
    lora = peft.LoraConfig(r=16, lora_alpha=16, target_modules=["base"])
    lora = peft.get_peft_model(nn.ModuleDict({"base": copy.deepcopy(base)}), lora).base_model.model["base"]
    pairs = {ours: (ours.gralora_A, ours.gralora_B), lora: (lora.lora_A, lora.lora_B)}
    for layer, containers in pairs.items():
        for held in containers:
            held.to(adapter_dtype)
        a, b = (getattr(held["default"], "weight", held["default"]) for held in containers)
        fixed(a, b, lambda layer=layer: layer.get_delta_weight("default"))
    assert 0 < merge_error(ours) <= 1.02 * merge_error(lora)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_merging_computes_in_float32_and_rounds_once(dtype):
    layer = gralora_layer(nn.Linear(64, 64).to(dtype), hybrid_r=4)
    exact = copy.deepcopy(layer).double()
    exact.merge()
    layer.merge()
    merged, wanted = layer.base_layer.weight.double(), exact.base_layer.weight
    assert ((merged - wanted).abs() <= 1.001 * wanted.abs() * torch.finfo(dtype).eps / 2 + 1e-7).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_the_pass_is_no_less_exact_than_loras(dtype):
    base, x = nn.Linear(256, 256).to(dtype), torch.randn(64, 256).to(dtype)
    lora = peft.LoraConfig(r=16, lora_alpha=16, target_modules=["base"])
    lora = peft.get_peft_model(nn.ModuleDict({"base": copy.deepcopy(base)}), lora).base_model.model["base"]
    ours = gralora_layer(base, gralora_k=4, r=16, alpha=16)
    fixed(lora.lora_A["default"].weight, lora.lora_B["default"].weight, lambda: lora.get_delta_weight("default"))
    fixed(ours.gralora_A["default"], ours.gralora_B["default"], lambda: ours.get_delta_weight("default"))
    errors = [(m(x).double() - copy.deepcopy(m).double()(x.double())).pow(2).mean().sqrt() for m in (ours, lora)]
    assert errors[0] < 1.1 * errors[1]


def over_lora(**lora) -> GraloraLinear:
    """The encoder of a BlockNet, with a LoRA and over it our adapter of the same name."""
    inner = peft.LoraConfig(r=2, target_modules=["encoder"], init_lora_weights=False, **lora)
    net = peft.get_peft_model(BlockNet().double(), inner).eval().base_model.model
    with expecting(SECOND_TUNER, TWICE):
        layer = encoder(gralora_model(net, target_modules=["encoder"], hybrid_r=3))
    assert isinstance(layer, GraloraLinear) and isinstance(layer.base_layer, peft.tuners.lora.Linear)
    return layer


@pytest.mark.parametrize("lora", [{}, {"use_dora": True}, {"lora_bias": True}], ids=str)
def test_over_a_lora_both_add_up(lora):
    layer = over_lora(**lora)
    wanted = layer.base_layer(X) + X @ layer.weight_delta("default").T
    assert largest_difference(layer(X), wanted) < 1e-12
    layer(X).sum().backward()
    grads = {name: p.grad is not None for name, p in layer.named_parameters()}
    assert all(grads[name] for name in grads if name.startswith("gralora_"))
    assert not grads["base_layer.base_layer.weight"]


@pytest.mark.parametrize("merges", list(itertools.permutations(["outer", "inner"])))
@pytest.mark.parametrize("unmerges", list(itertools.permutations(["outer", "inner"])))
def test_merging_over_a_lora_in_both_orders(merges, unmerges):
    layer = over_lora()
    both = {"outer": layer, "inner": layer.base_layer}
    expected, weight = layer(X), layer.get_base_layer().weight.clone()
    for name in merges:
        both[name].merge()
        assert largest_difference(layer(X), expected) < 1e-12, name
    assert largest_difference(layer.get_base_layer()(X), expected) < 1e-12
    for name in unmerges:
        both[name].unmerge()
        assert largest_difference(layer(X), expected) < 1e-12, name
    assert largest_difference(layer.get_base_layer().weight, weight) < 1e-14  # LoRA takes out to rounding


@pytest.mark.parametrize("outer", ["GLoRA", "GraLoRA"])
def test_our_two_adapters_on_one_layer_run_and_train_but_refuse_to_merge(outer):
    glora = GloraConfig.only(A="vector", B="lora", r=3, target_modules=["encoder"], init_weights=False)
    first, second = (config(), glora) if outer == "GLoRA" else (glora, config())
    inner = peft.get_peft_model(BlockNet().double(), first).eval().base_model.model
    with expecting(SECOND_TUNER, TWICE):
        model = peft.get_peft_model(inner, second).eval()
    layer = encoder(model)
    w0 = layer.get_base_layer().weight
    if outer == "GLoRA":
        w0 = w0 + layer.base_layer.weight_delta("default")
        added = sum(layer.weight_terms("default").values())
    else:
        w0 = w0 + sum(layer.base_layer.weight_terms("default").values())
        added = layer.weight_delta("default")
    expected, before = F.linear(X, w0 + added, layer.get_base_layer().bias), bits(model)
    assert largest_difference(layer(X), expected) < 1e-12
    with pytest.raises(ValueError, match=r"'encoder' carries G.*Linear over G.*Linear"):
        model.merge_adapter()
    assert same_bits(model, before) and not layer.merged and not layer.base_layer.merged


def test_unloading_leaves_the_inner_adapter():
    lora = peft.LoraConfig(r=2, target_modules=["encoder"], init_lora_weights=False)
    inner = peft.get_peft_model(BlockNet().double(), lora).eval().base_model.model
    inner_out = inner(X)
    with expecting(SECOND_TUNER, TWICE):
        model = gralora_model(inner)
    unloaded = model.unload()
    assert torch.equal(unloaded(X), inner_out) and isinstance(unloaded.encoder, peft.tuners.lora.Linear)


def test_conversion_to_lora():
    """PEFT's own, by truncated singular values: exact where the LoRA has the rank k·r."""
    model = gralora_model(BlockNet().double(), r=2, gralora_k=2, target_modules=["encoder"])
    converted, state = peft.tuners.lora.conversion.convert_to_lora(model, rank=4, progressbar=False)
    product = [tensor for name, tensor in sorted(state.items())]
    (a, b), scaling = product, converted.lora_alpha / converted.r
    assert largest_difference(scaling * (b @ a).double(), encoder(model).get_delta_weight("default")) < 1e-5
