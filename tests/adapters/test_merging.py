"""merging.py: merged equals unmerged, in any order, and the base's exact bits come back; of both methods."""

from __future__ import annotations

import copy
import itertools
import pickle
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import peft
import pytest
import torch
from torch import nn

from .block_models import BlockNet, gralora_model
from .block_models import add as add_blocks
from .small_models import (
    GAINED_BIAS,
    INERT,
    MERGED_ALREADY,
    Net,
    add,
    bits,
    choices,
    conv1d,
    expecting,
    glora_layer,
    glora_model,
    largest_difference,
    named,
    same_bits,
)

EVERY_PATH = {"A": "lora", "B": "lora", "C": "lora", "D": "vector", "E": "vector"}
NAMES = ("default", "second", "third")


def of_paths(dtype: torch.dtype = torch.float64) -> peft.PeftModel:
    model = glora_model(Net().to(dtype))
    add(model, "second", config_A_B="vector", config_C="none")
    add(model, "third", config_A_B="none", A_form="product", config_D_E="vector", target_modules=["decoder"])
    return model


def of_blocks(dtype: torch.dtype = torch.float64) -> peft.PeftModel:
    model = gralora_model(BlockNet().to(dtype))
    add_blocks(model, "second", gralora_k=2, hybrid_r=3)
    add_blocks(model, "third", gralora_k=3, target_modules=["decoder"])
    return model


class Method(NamedTuple):
    """A model and what it is given, an adapter with random values in it, a second, and three of them at once."""

    net: type[nn.Module]
    x: torch.Tensor
    make: Callable[[nn.Module], peft.PeftModel]
    second: Callable[[peft.PeftModel, str], None]
    three: Callable[[], peft.PeftModel]


METHODS = {
    "GLoRA": Method(Net, torch.randn(4, 6, dtype=torch.double), glora_model, add, of_paths),
    "GraLoRA": Method(
        BlockNet,
        torch.randn(4, 24, dtype=torch.double),
        partial(gralora_model, hybrid_r=3),
        partial(add_blocks, gralora_k=2),
        of_blocks,
    ),
}
both = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


def base_bits(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in bits(model).items() if "lora_" not in name}


def same_base(model: nn.Module, before: dict[str, torch.Tensor]) -> bool:
    now = base_bits(model)
    return now.keys() == before.keys() and all(
        torch.equal(now[n], before[n]) and now[n].dtype == before[n].dtype for n in before
    )


@pytest.mark.parametrize("form", ["elementwise", "product"])
@pytest.mark.parametrize("bias, bias_free", [(True, "drop"), (False, "drop"), (False, "add")])
def test_merged_equals_unmerged_for_every_choice(bias, bias_free, form):
    x = torch.randn(4, 6, dtype=torch.double)
    for choice in choices(form):
        layer = glora_layer(nn.Linear(6, 5, bias=bias).double(), choice, A_form=form, bias_free=bias_free)
        before, expected = base_bits(layer), layer(x)
        with expecting(GAINED_BIAS):
            layer.merge(safe_merge=True)
        assert largest_difference(layer(x), expected) < 1e-12, named(choice)
        assert largest_difference(layer.base_layer(x), expected) < 1e-12, named(choice)
        layer.unmerge()
        assert same_base(layer, before) and torch.equal(layer(x), expected), named(choice)


@both
@pytest.mark.parametrize("order", list(itertools.permutations(NAMES)))
def test_any_order_of_merging_gives_the_same_bits(order, method):
    model, x = method.three(), method.x
    model.base_model.set_adapter(list(NAMES))
    before, expected = base_bits(model), model(x)
    model.merge_adapter()
    together = base_bits(model)
    model.unmerge_adapter()
    for name in order:
        with expecting(MERGED_ALREADY):
            model.merge_adapter([name])
    assert same_base(model, together) and largest_difference(model(x), expected) < 1e-12
    decoder = model.base_model.model.decoder
    decoder.unmerge([order[0]])
    assert sorted(decoder.merged_adapters) == sorted(order[1:])
    model.unmerge_adapter()
    assert same_base(model, before)


def broken_path(path: str, value: float) -> peft.PeftModel:
    model = glora_model(Net(), config_A_B="vector", config_D_E="vector")
    getattr(model.base_model.model.decoder, f"glora_{path}")["default"].X.data[2] = value
    return model


def broken_block(value: float) -> peft.PeftModel:
    model = gralora_model(BlockNet())
    model.base_model.model.decoder.gralora_B["default"].data[1, 2, 3] = value
    return model


BREAKS = {"B": partial(broken_path, "B"), "E": partial(broken_path, "E"), "block": broken_block}


@pytest.mark.parametrize("how", ["merge_adapter", "merge_and_unload"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("broken", BREAKS.values(), ids=BREAKS)
def test_safe_merge_leaves_all_layers_untouched_and_names_the_bad_one(broken, value, how):
    model = broken(value)
    before, types = base_bits(model), [type(module) for module in model.modules()]
    with pytest.raises(ValueError, match="decoder") as caught:
        getattr(model, how)(safe_merge=True)
    assert "encoder" not in str(caught.value)
    assert same_base(model, before) and [type(module) for module in model.modules()] == types
    assert not model.base_model.model.encoder.merged_adapters and not model.base_model.model.decoder.merged_adapters


@both
@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_a_merged_model_can_be_copied(how, method):
    model, x = method.three(), method.x
    model.base_model.set_adapter(["default", "second"])
    before, expected = base_bits(model), model(x)
    model.merge_adapter()
    twin = copy.deepcopy(model) if how == "deepcopy" else pickle.loads(pickle.dumps(model))
    assert torch.equal(twin(x), model(x))
    twin.unmerge_adapter()
    assert same_base(twin, before) and torch.equal(twin(x), expected)
    assert model.base_model.model.encoder.merged and not same_base(model, before)


@both
@pytest.mark.parametrize("merged", [False, True])
def test_setting_disabling_and_deleting_adapters(merged, method):
    net, x = method.net().double(), method.x
    base_out = net(x)
    model = method.make(net)
    method.second(model, "second")
    before, one = base_bits(model), model(x)
    model.set_adapter("second")
    two = model(x)
    model.set_adapter("default")
    if merged:
        model.merge_adapter()
        with pytest.warns(UserWarning, match="Unmerging the model first"):
            model.set_adapter("second")
        assert same_base(model, before)
        model.merge_adapter()
    else:
        model.set_adapter("second")
    assert largest_difference(model(x), two) < 1e-12 and not torch.allclose(one, two)
    with model.disable_adapter():
        assert torch.equal(model(x), base_out)
    assert same_base(model, before)  # a disabled forward takes the adapter out, as PEFT's does
    with pytest.warns(UserWarning, match="second was active which is now deleted"):
        model.delete_adapter("second")
    assert torch.equal(model(x), one)
    if merged:
        model.merge_adapter()
    assert largest_difference(model(x), one) < 1e-12


@both
@pytest.mark.parametrize("how, merged", [("merge_and_unload", False), ("unload", False), ("unload", True)])
def test_a_plain_model_remains(how, merged, method):
    net, x = method.net().double(), method.x
    before, base_out = bits(net), net(x)
    model = method.make(net)
    expected = model(x) if how == "merge_and_unload" else base_out
    if merged:
        model.merge_adapter()
    plain = getattr(model, how)()
    assert type(plain.encoder) is nn.Linear and bits(plain).keys() == before.keys()
    assert largest_difference(plain(x), expected) < 1e-12
    assert same_bits(plain, before) == (how == "unload")


@pytest.mark.parametrize("gone", [("default",), ("third", "default"), NAMES, ("not there",)])
def test_a_subset_can_be_unmerged(gone):
    model, x = of_paths(), METHODS["GLoRA"].x
    layer = model.base_model.model.decoder
    hidden = torch.tanh(model.base_model.model.encoder.base_layer(x))
    before = base_bits(layer)
    layer.merge(adapter_names=list(NAMES))
    layer.unmerge(list(gone))
    left = [name for name in NAMES if name not in gone]
    assert layer.merged_adapters == left
    layer.set_adapter(left)
    merged = layer(hidden)
    layer.unmerge()
    assert largest_difference(layer(hidden), merged) < 1e-12
    assert same_base(layer, before)


def test_the_base_comes_back_at_a_equal_to_minus_one_where_peft_loses_it():
    base = nn.Linear(6, 5)
    config = peft.GloraConfig(config_A_B="constant", config_C="none", config_D_E="none")
    stock = peft.tuners.glora.layer.GloraLinear(copy.deepcopy(base), "default", config)
    ours = glora_layer(copy.deepcopy(base), {**dict.fromkeys("BCDE", "none"), "A": "constant"})
    for layer in (stock, ours):
        layer.glora_A["default"].X.data.fill_(-1.0)
        layer.merge()
        assert largest_difference(layer.base_layer.weight, torch.zeros(5, 6)) < 1e-6
        layer.unmerge()
    assert torch.equal(ours.base_layer.weight, base.weight)
    assert not stock.base_layer.weight.isfinite().all()


@pytest.mark.parametrize("kind", [nn.Linear, conv1d])
def test_the_base_comes_back_after_a_hundred_cycles_in_bfloat16(kind):
    layer = glora_layer(kind(16, 16).bfloat16(), EVERY_PATH)
    before = base_bits(layer)
    for _ in range(100):
        layer.merge()
        layer.unmerge()
    assert same_base(layer, before)


def test_peft_drifts_over_a_hundred_cycles():
    base = nn.Linear(16, 16).bfloat16()
    layer = peft.tuners.glora.layer.GloraLinear(
        copy.deepcopy(base), "default", peft.GloraConfig(r=3, init_weights=False)
    )
    for _ in range(100):
        layer.merge()
        layer.unmerge()
    assert not torch.equal(layer.base_layer.weight, base.weight)


def test_safe_merge_that_fails_keeps_what_was_merged_before():
    model, x = of_paths(), METHODS["GLoRA"].x
    model.merge_adapter(["default"])
    merged, expected = base_bits(model), model(x)
    model.base_model.model.decoder.glora_B["second"].X.data.fill_(float("nan"))
    with pytest.raises(ValueError, match="decoder"), expecting(MERGED_ALREADY):
        model.merge_adapter(["second"], safe_merge=True)
    assert same_base(model, merged) and torch.equal(model(x), expected)
    assert model.base_model.model.encoder.merged_adapters == ["default"]


def test_merging_twice_warns_and_changes_nothing():
    model = glora_model(Net())
    model.merge_adapter()
    merged = base_bits(model)
    with pytest.warns(UserWarning, match="All adapters are already merged"):
        model.merge_adapter()
    assert same_base(model, merged)


@pytest.mark.parametrize("bias", [True, False])
def test_a_model_that_changes_precision_while_merged(bias):
    with expecting(INERT, GAINED_BIAS):
        model = glora_model(Net(bias).float(), bias_free="add")
        add(model, "second", bias_free="add")
        before = base_bits(model)
        model.merge_adapter(["default"])
        model.bfloat16()
        layer = model.base_model.model.encoder
        for terms in (layer.weight_terms("second"), layer.bias_terms("second")):
            assert all(term.dtype == torch.bfloat16 for term in terms.values())
        with expecting(MERGED_ALREADY):
            model.merge_adapter(["second"])
        assert {tensor.dtype for tensor in base_bits(model).values()} == {torch.bfloat16}
        model.unmerge_adapter()
    assert same_base(model, {name: tensor.bfloat16() for name, tensor in before.items()})


def test_there_and_back_in_precision_while_merged_restores_every_bit():
    model = glora_model(Net())
    before = {name: tensor for name, tensor in base_bits(model).items() if "base_layer" in name}
    model.merge_adapter()
    model.half().float()
    model.unmerge_adapter()
    after = base_bits(model)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_terms_are_those_of_the_original_weight_while_merged():
    layer = glora_layer(nn.Linear(6, 5).double(), EVERY_PATH)
    before = {**layer.weight_terms("default"), **layer.bias_terms("default")}
    delta = layer.get_delta_weight("default")
    layer.merge()
    merged = base_bits(layer)
    after = {**layer.weight_terms("default"), **layer.bias_terms("default")}
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(layer.get_delta_weight("default"), delta)
    assert same_base(layer, merged)


def test_gradients_of_the_terms_are_those_of_the_original_weight_while_merged():
    layer = glora_layer(nn.Linear(6, 5).double(), EVERY_PATH)
    trained = [p for name, p in layer.named_parameters() if "glora_" in name]

    def gradients() -> tuple[torch.Tensor, ...]:
        terms = {**layer.weight_terms("default"), **layer.bias_terms("default")}
        return torch.autograd.grad(sum(term.sum() for term in terms.values()), trained)

    before = gradients()
    layer.merge()
    assert all(torch.equal(a, b) for a, b in zip(before, gradients(), strict=True))


@pytest.mark.parametrize("kind", [nn.Linear, conv1d])
def test_delta_weight_is_what_merging_adds(kind):
    layer = glora_layer(kind(6, 5).double(), EVERY_PATH)
    before, delta = layer.base_layer.weight.clone(), layer.get_delta_weight("default")
    layer.merge()
    assert largest_difference(layer.base_layer.weight, before + delta) < 1e-12


def test_a_bias_in_another_precision_than_the_weight_keeps_it():
    base = nn.Linear(6, 5).bfloat16()
    base.bias.data = base.bias.data.float()
    layer = glora_layer(base, {**dict.fromkeys("ABCD", "none"), "E": "vector"})
    layer.merge()
    assert base.bias.dtype == torch.float32
    layer.unmerge()
    assert base.bias.dtype == torch.float32


def test_a_merged_adapter_that_is_deleted_from_its_layer_leaves_the_base():
    layer = glora_layer(nn.Linear(6, 5), EVERY_PATH)
    before = base_bits(layer)
    layer.merge()
    layer.delete_adapter("default")
    assert same_base(layer, before) and not layer.merged


def test_merging_a_bias_free_layer_says_that_it_gained_a_bias():
    with expecting(INERT):
        model = glora_model(Net(bias=False).double(), bias_free="add")
    x = torch.randn(4, 6, dtype=torch.double)
    before, expected = base_bits(model), model(x)
    with pytest.warns(UserWarning) as caught:
        model.merge_adapter()
    said = [str(warning.message) for warning in caught]
    assert len(said) == 2 and "'encoder' a bias" in said[0] and "'decoder' a bias" in said[1]
    assert "bias_free" not in said[0]  # a method of one's own has no such setting
    assert model.base_model.model.encoder.base_layer.bias is not None
    model.unmerge_adapter()
    assert same_base(model, before) and model.base_model.model.encoder.base_layer.bias is None
    with pytest.warns(UserWarning, match=GAINED_BIAS):
        plain = model.merge_and_unload()
    assert plain.encoder.bias is not None and largest_difference(plain(x), expected) < 1e-12


def test_unmerging_one_of_two_adapters_does_not_announce_the_bias_again():
    with expecting(INERT):
        model = glora_model(Net(bias=False), bias_free="add")
        add(model, "second", bias_free="add")
    layer = model.base_model.model.encoder
    with pytest.warns(UserWarning, match=GAINED_BIAS):
        layer.merge(adapter_names=["default", "second"])
    layer.unmerge(["second"])  # any warning fails the test
    assert layer.merged_adapters == ["default"] and layer.base_layer.bias is not None


def test_dropping_the_bias_paths_gives_no_bias_at_merge():
    with expecting(INERT):
        model = glora_model(Net(bias=False), bias_free="drop")
    assert model.merge_and_unload().encoder.bias is None


def test_a_merged_layer_does_not_train_its_gained_bias():
    layer = glora_layer(nn.Linear(6, 5, bias=False), {**dict.fromkeys("ABCD", "none"), "E": "vector"}, bias_free="add")
    layer.base_layer.requires_grad_(False)
    with expecting(GAINED_BIAS):
        layer.merge()
    assert not layer.base_layer.bias.requires_grad
