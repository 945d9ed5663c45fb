"""The base's bits and precision: a new adapter changes no bit of the output, at any size, tokens and precisions."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import Tensor, nn

from glora_lab.adapters.glora import plain_base, scaled_weight
from glora_lab.adapters.glora.products import is_slow

from .block_models import gralora_layer
from .small_models import SINGLES, conv1d, glora_layer, named

NONE = dict.fromkeys("ABCDE", "none")
ALL_LORA = {"A": "lora", "B": "lora", "C": "lora", "D": "vector", "E": "vector"}
ALL_VECTOR = dict.fromkeys("ABCDE", "vector")
TOGETHER = [
    ALL_LORA,
    {**ALL_LORA, "A": "none"},
    {**NONE, "A": "lora", "C": "vector"},
    ALL_VECTOR,
    {**ALL_VECTOR, "A": "constant"},
    {**NONE, "A": "vector", "C": "lora"},
]
BASES = {"Linear": nn.Linear, "Conv1D": conv1d}
SIZES = [(64, 64), (300, 260), (768, 768), (1024, 4096), (2048, 2048)]
TOKENS = (1, 2, 16, 33, 256)


def frozen(base: str, size: tuple[int, int], dtype: torch.dtype, bias: bool) -> nn.Module:
    layer = BASES[base](*size).to(dtype).requires_grad_(False)
    if not bias:
        layer.bias = None
    return layer


def outputs(layer: nn.Module, x: Tensor) -> list[Tensor]:
    """Without and with a gradient to come."""
    with torch.no_grad():
        plain = layer(x)
    return [plain, layer(x.clone().requires_grad_()).detach()]


@pytest.mark.parametrize(
    ("dtype", "size"),
    [
        *itertools.product((torch.float32, torch.bfloat16), SIZES),
        *((torch.float16, size) for size in SIZES[:2]),  # bfloat16's code, in another precision
    ],
    ids=str,
)
def test_every_size_and_number_of_tokens(dtype, size):
    large = size[0] * size[1] > 2**20
    choices = TOGETHER if large else [*SINGLES, *TOGETHER]
    for base, bias, tokens in itertools.product(BASES, (True, False), TOKENS):
        if (base == "Conv1D" and not bias) or (tokens > (1 if large else 16) and is_slow(dtype, "cpu")):
            continue  # transformers' Conv1D has a bias; the base itself takes seconds in a slow precision
        layer, x = frozen(base, size, dtype, bias), torch.randn(tokens, size[0]).to(dtype)
        wanted = layer(x)
        for choice, form in itertools.product(choices, ("elementwise", "product")):
            if form == "product" and choice["A"] not in ("lora", "vector"):
                continue
            adapted = glora_layer(layer, choice, A_form=form, init_weights=True, r=8)
            for out in outputs(adapted, x):
                assert torch.equal(out, wanted), (named(choice), form, base, bias, tokens)


@pytest.mark.parametrize("size", SIZES[1:4], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_gralora(dtype, size):
    for tokens, k in itertools.product(TOKENS, (1, 2, 4)):
        layer, x = frozen("Linear", size, dtype, True), torch.randn(tokens, size[0]).to(dtype)
        adapted = gralora_layer(layer, r=8, gralora_k=k, init_weights=True)
        assert all(torch.equal(out, layer(x)) for out in outputs(adapted, x)), (tokens, k)


@pytest.mark.parametrize("tokens", [1, 16])
@pytest.mark.parametrize("choice", TOGETHER, ids=named)
def test_a_factor_counts_as_soon_as_its_last_value_moves(choice, tokens):
    """However small: the square of this one is zero in float32."""
    layer, x = frozen("Linear", (300, 260), torch.float32, True), torch.ones(tokens, 300)
    layer.bias.zero_()
    for letter, path in (adapted := glora_layer(layer, choice, init_weights=True, r=8)).paths("default").items():
        if letter not in "AC":
            continue
        factor = path.Xd if choice[letter] == "lora" else path.X
        with torch.no_grad():
            factor.view(-1)[-1] = 1e-25 if letter == "C" else 1
        seen = x * (letter == "A")  # nothing that could round W0·C away
        for out in outputs(adapted, seen):
            assert not torch.equal(out, layer(seen))
        with torch.no_grad():
            factor.zero_()


MIXED = [(torch.float32, torch.bfloat16), (torch.float32, torch.float64), (torch.bfloat16, torch.float64)]
MIXED += [(torch.bfloat16, torch.float16), (torch.float64, torch.float32)]


@pytest.mark.parametrize("adapter", ["first", "trained"])
@pytest.mark.parametrize("dtypes", MIXED, ids=str)
@pytest.mark.parametrize("form", ["elementwise", "product"])
def test_a_base_and_an_adapter_of_different_precision(monkeypatch, form, dtypes, adapter):
    """The output has the base's precision and its exactness, each gradient its tensor's."""
    monkeypatch.setattr(plain_base, "SMALL", 0)
    monkeypatch.setattr(scaled_weight, "SMALL", 0)
    (of_base, of_adapter), first = dtypes, adapter == "first"
    for choice, tokens, base in itertools.product([*SINGLES, *TOGETHER], (1, 3, 64), BASES):
        layer = frozen(base, (48, 32), of_base, True)
        adapted = glora_layer(layer, choice, A_form=form, init_weights=first)
        for path in adapted.paths("default").values():
            path.to(of_adapter)
        x = torch.randn(tokens, 48).to(of_base).requires_grad_()
        upstream = torch.randn(tokens, 32).to(of_base)
        if first:
            assert torch.equal(adapted(x), layer(x)), (named(choice), base, tokens)
            continue
        exact, exact_x = copy.deepcopy(adapted).double(), x.detach().double().requires_grad_()
        out, wanted = adapted(x), exact(exact_x)
        assert out.dtype is of_base
        trained = [[p for p in of.parameters() if p.requires_grad] for of in (adapted, exact)]
        got = [out, *torch.autograd.grad(out, [x, *trained[0]], upstream)]
        true = [wanted, *torch.autograd.grad(wanted, [exact_x, *trained[1]], upstream.double())]
        assert [g.dtype for g in got] == [of_base, of_base] + [of_adapter] * len(trained[0])
        for mine, theirs in zip(got, true, strict=True):
            eps = max(torch.finfo(mine.dtype).eps, torch.finfo(of_base).eps)
            size = theirs.norm().clamp(min=1)  # a constant's gradient is a sum of many values, which may cancel
            # 16, for in which order a processor adds up 48 products is its own affair
            assert (mine.double() - theirs).norm() < 16 * eps * size, (named(choice), base, tokens, mine.shape)
