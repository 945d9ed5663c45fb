"""GraloraLinear as a layer: shapes and dtypes, one pass through the base, no side effects."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from glora_lab.adapters import GraloraConfig, GraloraLinear

from .block_models import BASES, KS, BlockNet, add, encoder, gralora_layer, gralora_model, stock_model
from .small_models import expecting, largest_difference

HYBRIDS = [0, 3]


@settings(max_examples=60)
@given(
    k=st.sampled_from(KS),
    kind=st.sampled_from(list(BASES)),
    leading=st.lists(st.integers(0, 3), max_size=4),
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)),
    hybrid_r=st.integers(0, 2),
)
def test_inputs_of_any_rank_and_empty_batches(k, kind, leading, sizes, hybrid_r):
    in_features, out_features, r = (size * k for size in sizes)
    layer = gralora_layer(BASES[kind](in_features, out_features).double(), gralora_k=k, r=r, hybrid_r=hybrid_r)
    if kind == "Conv1D" and 0 in leading:
        leading = [size or 1 for size in leading]  # transformers' own layer refuses empty inputs of some shapes
    x = torch.randn(*leading, in_features, dtype=torch.double)
    out = layer(x)
    assert out.shape == (*leading, out_features)
    delta = layer.weight_delta("default")
    assert out.numel() == 0 or largest_difference(out, layer.base_layer(x) + F.linear(x, delta)) < 1e-12


def test_an_input_that_is_not_contiguous():
    layer, x = gralora_layer(nn.Linear(24, 48).double()), torch.randn(24, 3, 5, dtype=torch.double)
    assert largest_difference(layer(x.permute(2, 1, 0)), layer(x.permute(2, 1, 0).contiguous())) < 1e-12
    assert layer(x.permute(2, 1, 0)).is_contiguous()


@pytest.mark.parametrize("kind", BASES)
@pytest.mark.parametrize("hybrid_r", HYBRIDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_the_output_has_the_dtype_of_the_base(dtype, hybrid_r, kind):
    base, x = BASES[kind](24, 48).to(dtype), torch.randn(3, 24).to(dtype)
    for adapter_dtype in (dtype, torch.promote_types(dtype, torch.float32)):
        layer = gralora_layer(copy.deepcopy(base), hybrid_r=hybrid_r)
        assert {p.dtype for p in layer.parameters()} == {dtype}
        for container in layer.adapter_layer_names:
            getattr(layer, container).to(adapter_dtype)
        assert layer(x).dtype == layer.get_delta_weight("default").dtype == dtype
        layer.merge()
        assert layer(x).dtype == dtype and layer.base_layer.weight.dtype == dtype


class Constant(nn.Linear):
    """A base that answers every input with one and the same tensor."""

    def forward(self, x):
        return self.answer


@pytest.mark.parametrize("hybrid_r", HYBRIDS)
def test_the_output_of_the_base_is_not_changed_in_place(hybrid_r):
    base = Constant(24, 48)
    base.answer = torch.randn(5, 48)
    before = base.answer.clone()
    layer = gralora_layer(base, hybrid_r=hybrid_r)
    out = layer(torch.randn(5, 24))
    assert torch.equal(base.answer, before) and not torch.equal(out, before)


def test_stock_changes_it():
    base = nn.Linear(24, 48)
    layer = encoder(stock_model(nn.ModuleDict({"encoder": base}), target_modules=["encoder"]))
    answer = torch.randn(5, 48)
    before = answer.clone()
    base.forward = lambda x: answer
    layer(torch.randn(5, 24))
    assert not torch.equal(answer, before)


def test_several_adapters_add_up():
    model, x = gralora_model(BlockNet().double()), torch.randn(4, 24, dtype=torch.double)
    add(model, "second", gralora_k=2, hybrid_r=3, r=4)
    add(model, "third", target_modules=["decoder"])
    model.base_model.set_adapter(["default", "second", "third"])
    layer = encoder(model)
    weight = layer.base_layer.weight + sum(layer.weight_delta(name) for name in ("default", "second"))
    assert largest_difference(layer(x), F.linear(x, weight, layer.base_layer.bias)) < 1e-12


@pytest.mark.parametrize("hybrid_r", HYBRIDS)
def test_dropout_is_drawn_once_per_input(hybrid_r):
    layer = gralora_layer(nn.Linear(24, 48).double(), gralora_dropout=0.5, hybrid_r=hybrid_r)
    x, seen = torch.randn(4, 24, dtype=torch.double), []
    layer.gralora_dropout["default"].register_forward_hook(lambda module, args, output: seen.append(output))
    out = layer.train()(x)
    (dropped,) = seen
    wanted = layer.base_layer(x) + F.linear(dropped, layer.weight_delta("default"))
    assert largest_difference(out, wanted) < 1e-12 and not torch.equal(dropped, x)
    layer.eval()
    assert torch.equal(layer(x), layer(x)) and largest_difference(layer(x), out) > 1e-3


def test_a_jacobian_vector_product_through_the_layer():
    """What a gradient report asks of a layer: forward-mode derivatives of its output by its factors."""
    layer, x = gralora_layer(nn.Linear(24, 48).double(), hybrid_r=3), torch.randn(4, 24, dtype=torch.double)
    factors = {name: p.detach() for name, p in layer.named_parameters() if "gralora_" in name}
    tangents = {name: torch.randn_like(p) for name, p in factors.items()}

    def output(values):
        return torch.func.functional_call(layer, values, (x,))

    with expecting("`torch.jit.script` is deprecated"):  # torch's own, when it first loads its forward derivatives
        _, product = torch.func.jvp(output, (factors,), (tangents,))
    step = 1e-6
    ahead, behind = (output({n: p + sign * tangents[n] for n, p in factors.items()}) for sign in (step, -step))
    assert largest_difference(product, (ahead - behind) / (2 * step)) < 1e-6


def test_an_adapter_is_replaced_by_one_of_another_kind():
    layer, x = gralora_layer(nn.Linear(24, 48), hybrid_r=3), torch.randn(4, 24)
    layer.update_layer("default", GraloraConfig(r=4, gralora_k=2))
    assert layer.gralora_A["default"].shape == (2, 12, 4) and not layer.gralora_A_general
    assert torch.equal(layer(x), layer.base_layer(x))


@pytest.mark.parametrize("fan_in_fan_out", [False, True])
@pytest.mark.parametrize("kind", BASES)
def test_how_a_layer_keeps_its_weight_is_found_out(kind, fan_in_fan_out):
    base, x = BASES[kind](24, 48).double(), torch.randn(4, 24, dtype=torch.double)
    given_config = GraloraConfig(r=8, init_weights=False, fan_in_fan_out=fan_in_fan_out)
    layer = GraloraLinear(base, "default", given_config)
    expected = layer(x)
    assert layer.get_delta_weight("default").shape == base.weight.shape
    layer.merge()
    assert largest_difference(layer(x), expected) < 1e-12
    assert given_config == GraloraConfig(r=8, init_weights=False, fan_in_fan_out=fan_in_fan_out)
