"""GloraLinear as a layer: shapes and dtypes, one pass through the base, no large matrix, no side effects."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.pytorch_utils import Conv1D

from .small_models import (
    CHOICES,
    SINGLES,
    Net,
    add,
    choices,
    conv1d,
    glora_layer,
    glora_model,
    largest_difference,
    named,
)

EVERY_PATH = {"A": "lora", "B": "lora", "C": "lora", "D": "vector", "E": "vector"}
BASES = {"Linear": nn.Linear, "Conv1D": conv1d}
FORMS = ["elementwise", "product"]


@settings(max_examples=60)
@given(
    choice=st.sampled_from(CHOICES),
    form=st.sampled_from(FORMS),
    kind=st.sampled_from(list(BASES)),
    leading=st.lists(st.integers(0, 3), max_size=4),
    sizes=st.tuples(st.integers(1, 7), st.integers(1, 7), st.integers(1, 9)),
)
def test_inputs_of_any_rank_and_empty_batches(choice, form, kind, leading, sizes):
    in_features, out_features, r = sizes
    layer = glora_layer(BASES[kind](in_features, out_features).double(), choice, r=r, A_form=form)
    if kind == "Conv1D" and 0 in leading:
        leading = [size or 1 for size in leading]  # transformers' own layer refuses empty inputs of some shapes
    x = torch.randn(*leading, in_features, dtype=torch.double)
    out = layer(x)
    assert out.shape == (*leading, out_features)
    row_by_row = [layer(row) for row in x.reshape(-1, in_features)]
    if row_by_row:
        assert largest_difference(out.reshape(-1, out_features), torch.stack(row_by_row)) < 1e-12


@pytest.mark.parametrize("kind", BASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_the_output_has_the_dtype_of_the_base(kind, dtype):
    base = BASES[kind](6, 5).to(dtype)
    x = torch.randn(3, 6, dtype=dtype)
    for choice in [EVERY_PATH, *SINGLES]:
        for adapter_dtype in (dtype, torch.promote_types(dtype, torch.float32)):
            layer = glora_layer(copy.deepcopy(base), choice)
            for path in "ABCDE":
                getattr(layer, f"glora_{path}").to(adapter_dtype)
            assert layer(x).dtype == dtype, named(choice)
            layer.merge()
            assert layer(x).dtype == dtype and layer.base_layer.weight.dtype == dtype


def test_a_new_adapter_has_the_dtype_of_its_base():
    layer = glora_layer(nn.Linear(6, 5).bfloat16(), EVERY_PATH)
    assert {p.dtype for p in layer.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("form", FORMS)
def test_the_base_runs_once(form):
    for choice in choices(form):
        layer = glora_layer(nn.Linear(6, 5), choice, A_form=form)
        calls = []
        layer.base_layer.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        layer(torch.randn(2, 6)).sum().backward()
        assert len(calls) == 1, named(choice)


class LargestNewTensor(TorchDispatchMode):
    """Records the largest tensor that an operation makes; views of what is there already do not count."""

    def __init__(self, *known: torch.Tensor) -> None:
        super().__init__()
        self.known = {tensor.untyped_storage().data_ptr() for tensor in known}
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().data_ptr() not in self.known:
                self.numel = max(self.numel, tensor.numel())
        return result


def largest_new_tensor(base: nn.Module, choice: dict[str, str], **settings) -> int:
    layer = glora_layer(base, choice, r=4, **settings)
    base.requires_grad_(False)
    x = torch.randn(5, base.weight.shape[0 if isinstance(base, Conv1D) else 1], requires_grad=True)
    with LargestNewTensor(base.weight) as largest:
        layer(x).sum().backward()
    return largest.numel


@pytest.mark.parametrize("kind", BASES)
@pytest.mark.parametrize("form", FORMS)
def test_only_lora_in_elementwise_a_builds_a_matrix(kind, form):
    base = BASES[kind](96, 160)
    for choice in choices(form):
        builds = choice["A"] == "lora" and form == "elementwise"
        largest = largest_new_tensor(base, choice, A_form=form)
        assert (largest >= 96 * 160) == builds, f"{named(choice)}: {largest}"


@pytest.mark.parametrize("choice", [c for c in SINGLES if c["A"] != "lora"], ids=named)
def test_dropout_builds_no_matrix_either(choice):
    assert largest_new_tensor(nn.Linear(96, 160), choice, glora_dropout=0.5) < 96 * 160


def test_several_adapters_add_up_against_the_original_weight():
    net, x = Net().double(), torch.randn(4, 6, dtype=torch.double)
    model = glora_model(net)
    add(model, "second", config_A_B="vector")
    add(model, "third", target_modules=["decoder"])
    model.base_model.set_adapter(["default", "second", "third"])
    layer = model.base_model.model.encoder
    weight, bias = layer.base_layer.weight, layer.base_layer.bias
    for name in ("default", "second"):
        weight = weight + sum(layer.weight_terms(name).values())
        bias = bias + sum(layer.bias_terms(name).values())
    assert largest_difference(layer(x), F.linear(x, weight, bias)) < 1e-12
    base, sum_of_deltas = layer.base_layer(x), 0
    for name in ("default", "second"):
        model.set_adapter(name)
        sum_of_deltas = sum_of_deltas + layer(x) - base
    model.base_model.set_adapter(["default", "second", "third"])
    assert largest_difference(layer(x), base + sum_of_deltas) < 1e-12
