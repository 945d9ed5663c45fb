"""Under accelerate's cpu_offload: every path in every mode, and blocks, merged and not, alone and over a LoRA."""

from __future__ import annotations

import copy
from functools import partial

import peft
import pytest
import torch
from torch import Tensor, nn

from glora_lab.measure import path_picture

from .block_models import BlockNet, gralora_model
from .block_models import add as add_blocks
from .small_models import GAINED_BIAS, INERT, SECOND_TUNER, SINGLES, Net, add, expecting, glora_model, named
from .small_models import largest_difference as difference
from .test_gralora_offload import offload

EVERY_PATH = {"A": "lora", "B": "lora", "C": "lora", "D": "vector", "E": "vector"}
CASES = [*SINGLES, EVERY_PATH, {"A": "vector", "B": "vector", "C": "vector", "D": "constant", "E": "constant"}]
X = torch.randn(4, 6, generator=torch.Generator().manual_seed(5))
TWICE = "You are trying to modify a model with PEFT for a second time"


def single(choice: dict[str, str], net: nn.Module | None = None, **settings) -> peft.PeftModel:
    modes = {f"config_{path}": choice[path] for path in "ABCDE"}
    return glora_model(Net() if net is None else net, **modes, **settings)


def on_meta(model: nn.Module) -> bool:
    return {p.device.type for p in model.parameters()} == {"meta"}


def blocks(hybrid_r: int, second: bool) -> peft.PeftModel:
    model = gralora_model(BlockNet(), hybrid_r=hybrid_r)
    if second:
        add_blocks(model, "second", gralora_k=2, hybrid_r=3)
        model.base_model.set_adapter(["default", "second"])
    return model


FORMS = ("elementwise", "product")
BOTH = {f"{named(choice)}, {form}": (partial(single, choice, A_form=form), X) for choice in CASES for form in FORMS} | {
    f"blocks, hybrid {hybrid_r}, {1 + second}": (partial(blocks, hybrid_r, second), torch.randn(4, 24))
    for hybrid_r in (0, 3)
    for second in (False, True)
}


@pytest.mark.parametrize("make, x", BOTH.values(), ids=BOTH)
def test_every_adapter_survives_offloading(make, x):
    model = make()
    layer = model.base_model.model.encoder
    with model.disable_adapter():
        base = model(x)
    expected, delta = model(x), layer.get_delta_weight("default")
    offload(model)
    assert torch.equal(model(x), expected) and not torch.equal(expected, base)
    with model.disable_adapter():
        assert torch.equal(model(x), base)
    assert torch.equal(layer.get_delta_weight("default"), delta) and on_meta(model)
    model.merge_adapter()
    assert difference(model(x), expected) < 1e-5 and layer.merged and on_meta(model)
    assert torch.equal(layer.get_delta_weight("default"), delta)
    model.unmerge_adapter()
    assert torch.equal(model(x), expected) and on_meta(model)
    layer.merge(safe_merge=True)  # one layer alone, without PEFT's own care for offloaded models
    assert difference(model(x), expected) < 1e-5 and on_meta(model)
    with model.disable_adapter():
        assert torch.equal(model(x), base)
    assert torch.equal(model(x), expected)


def test_a_gained_bias_in_an_offloaded_model():
    with expecting(INERT, GAINED_BIAS):
        model = single(EVERY_PATH, Net(bias=False), bias_free="add")
        expected = model(X)
        offload(model)
        model.merge_adapter()
        assert difference(model(X), expected) < 1e-5 and model.base_model.model.encoder.base_layer.bias is not None
        model.unmerge_adapter()
    assert torch.equal(model(X), expected) and model.base_model.model.encoder.base_layer.bias is None


def test_mixed_batches_terms_and_pictures_of_an_offloaded_model():
    model = single(EVERY_PATH)
    layer, names = model.base_model.model.encoder, ["default", "__base__", "default", "__base__"]
    expected, picture = model(X, adapter_names=names), path_picture(model, "encoder")
    terms = {**layer.weight_terms("default"), **layer.bias_terms("default")}
    offload(model)
    assert torch.equal(model(X, adapter_names=names), expected)
    now = {**layer.weight_terms("default"), **layer.bias_terms("default")}
    assert all(torch.equal(terms[path], now[path]) for path in terms)
    assert (path_picture(model, "encoder").w_eff == picture.w_eff).all() and on_meta(model)


def dtypes(model: nn.Module) -> dict[str, torch.dtype]:
    return {name: parameter.dtype for name, parameter in model.named_parameters()}


def two_adapters(net: nn.Module, offloaded: str) -> tuple[peft.PeftModel, Tensor]:
    """GLoRA twice on one net, offloaded before the first, before the second, or never."""
    torch.manual_seed(1)
    if offloaded == "before both":
        offload(net)
    model = glora_model(net)
    if offloaded == "between":
        offload(model)
    add(model, "second", A_form="product")
    model.base_model.set_adapter(["default", "second"])
    return model, model(X.to(net.encoder.base_layer.weight.dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("offloaded", ["before both", "between"])
def test_adapters_added_to_an_offloaded_model(offloaded, dtype):
    net = Net().to(dtype)
    plain, expected = two_adapters(copy.deepcopy(net), "never")
    model, out = two_adapters(net, offloaded)
    assert torch.equal(out, expected) and dtypes(model) == dtypes(plain)


def test_blocks_added_beside_offloaded_ones_take_the_dtype_of_the_base():
    plain = gralora_model(BlockNet().double())
    model = copy.deepcopy(plain)
    offload(model)
    for one in (plain, model):
        add_blocks(one, "second", hybrid_r=3)
    assert dtypes(model) == dtypes(plain) == dict.fromkeys(dtypes(plain), torch.float64)


def test_an_adapter_loaded_into_an_offloaded_model(tmp_path):
    net = Net()
    model = glora_model(copy.deepcopy(net))
    model.save_pretrained(tmp_path)
    offload(net)
    other = glora_model(net, adapter_name="other")
    other.load_adapter(tmp_path, "default")
    other.set_adapter("default")
    assert torch.equal(other(X), model(X))


@pytest.mark.parametrize("choice", CASES, ids=named)
def test_over_a_lora_in_an_offloaded_model(choice):
    lora = peft.LoraConfig(r=2, target_modules=["encoder"], init_lora_weights=False)
    inner = peft.get_peft_model(Net(), lora).eval().base_model.model
    with expecting(SECOND_TUNER, TWICE):
        model = single(choice, inner, target_modules=["encoder"])
    layer, expected = model.base_model.model.encoder, model(X)
    offload(model)
    assert difference(model(X), expected) < 1e-6
    layer.merge()
    assert difference(model(X), expected) < 1e-5 and on_meta(model)
    layer.unmerge()
    assert difference(model(X), expected) < 1e-6 and on_meta(model)
