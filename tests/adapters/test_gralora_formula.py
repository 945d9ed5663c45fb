"""gralora/formula.py: equal to stock PEFT, to LoRA at k = 1, and to what the paper says of the blocks."""

from __future__ import annotations

import copy

import peft
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from glora_lab.adapters.gralora.formula import block_delta, block_output
from glora_lab.adapters.view import factor_pairs

from .block_models import BASES, KS, BlockNet, R, encoder, gralora_layer, gralora_model, stock_and_ours
from .small_models import gpt2, largest_difference


@pytest.mark.parametrize("hybrid_r", [0, 3])
@pytest.mark.parametrize("k", KS)
def test_equal_to_stock_forward_and_delta(k, hybrid_r):
    stock, ours = stock_and_ours(BlockNet().double(), gralora_k=k, hybrid_r=hybrid_r)
    for shape in [(5, 24), (2, 3, 24)]:
        x = torch.randn(shape, dtype=torch.double)
        assert largest_difference(stock(x), ours(x)) < 1e-12
    for name in ("encoder", "decoder"):
        one, other = (getattr(m.base_model.model, name) for m in (stock, ours))
        delta = one.get_delta_weight("default")
        assert largest_difference(delta, other.get_delta_weight("default")) < 1e-12
        assert delta.abs().max() > 0.01


@pytest.mark.parametrize("hybrid_r", [0, 3])
def test_equal_to_stock_over_conv1d(hybrid_r):
    settings = {"gralora_k": 4, "r": 8, "hybrid_r": hybrid_r, "target_modules": ["c_attn"], "fan_in_fan_out": True}
    stock, ours = stock_and_ours(gpt2().double(), **settings)
    ids = torch.arange(3, 9)[None]
    assert largest_difference(stock(ids).logits, ours(ids).logits) < 1e-12
    one, other = (m.base_model.model.transformer.h[0].attn.c_attn for m in (stock, ours))
    assert largest_difference(one.get_delta_weight("default"), other.get_delta_weight("default")) < 1e-12


@pytest.mark.parametrize("hybrid_r", [0, 3])
@pytest.mark.parametrize("k", KS)
def test_gradients_equal_those_of_stock(k, hybrid_r):
    stock, ours = stock_and_ours(BlockNet().double(), gralora_k=k, hybrid_r=hybrid_r)
    x = torch.randn(2, 3, 24, dtype=torch.double)
    grads = []
    for model in (stock, ours):
        model(x).pow(2).sum().backward()
        grads.append({name: p.grad for name, p in model.named_parameters() if p.requires_grad})
    assert grads[0].keys() == grads[1].keys() and len(grads[0]) == (8 if hybrid_r else 4)
    assert all(largest_difference(grads[0][n], grads[1][n]) < 1e-10 for n in grads[0])


def dense(a: Tensor, b: Tensor) -> Tensor:
    """ΔW from its definition, block by block, entry by entry of the paper's grid."""
    k, _, r = a.shape
    s = r // k
    rows = []
    for m in range(k):
        row = [b[m][n * s : (n + 1) * s].T @ a[n][:, m * s : (m + 1) * s].T for n in range(k)]
        rows.append(torch.cat(row, dim=1))
    return torch.cat(rows)


@pytest.mark.parametrize("k", KS)
def test_values_and_gradients_equal_those_of_the_dense_formula(k):
    a = torch.randn(k, 24 // k, R, dtype=torch.double, requires_grad=True)
    b = torch.randn(k, R, 48 // k, dtype=torch.double, requires_grad=True)
    x = torch.randn(5, 24, dtype=torch.double, requires_grad=True)
    weight = torch.randn(5, 48, dtype=torch.double)
    assert largest_difference(block_delta(a, b), dense(a, b)) < 1e-12
    ways = [
        0.7 * F.linear(x, dense(a, b)),
        0.7 * F.linear(x, block_delta(a, b)),
        block_output(x, a, b, 0.7).reshape(5, 48),
    ]
    of_dense, *others = [torch.autograd.grad((y * weight).sum(), (x, a, b)) for y in ways]
    for y, grads in zip(ways[1:], others, strict=True):
        assert largest_difference(y, ways[0]) < 1e-12
        assert all(largest_difference(g, wanted) < 1e-11 for g, wanted in zip(grads, of_dense, strict=True))


@pytest.mark.parametrize("k", KS)
def test_second_derivatives(k):
    a = torch.randn(k, 24 // k, R, dtype=torch.double, requires_grad=True)
    b = torch.randn(k, R, 24 // k, dtype=torch.double, requires_grad=True)
    x = torch.randn(2, 24, dtype=torch.double)
    assert torch.autograd.gradcheck(lambda a, b: block_output(x, a, b, 0.5), (a, b), fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda a, b: block_output(x, a, b, 0.5), (a, b), fast_mode=True)


@pytest.mark.parametrize("k", KS)
def test_each_block_is_the_product_of_its_factors(k):
    layer = gralora_layer(nn.Linear(24, 48).double(), gralora_k=k)
    delta, factors = layer.get_delta_weight("default"), factor_pairs(layer)
    assert factors.B.shape == (k, k, 48 // k, R // k) and factors.A.shape == (k, k, 24 // k, R // k)
    i, o = 24 // k, 48 // k
    for m in range(k):
        for n in range(k):
            block = delta[m * o : (m + 1) * o, n * i : (n + 1) * i]
            wanted = factors.scaling * factors.B[m, n] @ factors.A[m, n].T
            assert largest_difference(block, wanted) < 1e-12
            assert torch.linalg.matrix_rank(block, atol=1e-9) == min(R // k, i, o)


@pytest.mark.parametrize("k", KS)
@pytest.mark.parametrize("r", [8, 24])
@pytest.mark.parametrize("size", [(24, 48), (192, 144)])
def test_the_rank_is_k_times_r(k, r, size):
    if r % k:
        return
    layer = gralora_layer(nn.Linear(*size).double(), gralora_k=k, r=r)
    assert torch.linalg.matrix_rank(layer.get_delta_weight("default"), atol=1e-9) == min(k * r, *size)


def count(layer: nn.Module) -> int:
    return sum(p.numel() for name, p in layer.named_parameters() if "lora_" in name)


@pytest.mark.parametrize("hybrid_r", [0, 3])
@pytest.mark.parametrize("k", KS)
def test_parameters_are_those_of_lora(k, hybrid_r):
    lora = peft.get_peft_model(BlockNet(), peft.LoraConfig(r=R + hybrid_r, target_modules=["encoder"]))
    layer = gralora_layer(nn.Linear(24, 48), gralora_k=k, hybrid_r=hybrid_r)
    assert count(layer) == count(encoder(lora)) == layer.plans["default"].total == (R + hybrid_r) * (24 + 48)


def lora_pair(**settings) -> tuple[nn.Module, nn.Module]:
    """A stock LoRA and ours with k = 1, over the same base and with the same values."""
    net = BlockNet().double()
    rslora = settings.get("use_rslora", False)
    lora = peft.LoraConfig(
        r=6, lora_alpha=9, init_lora_weights=False, use_rslora=rslora, target_modules=["encoder"], lora_dropout=0.5
    )
    ours = gralora_layer(copy.deepcopy(net.encoder), r=6, alpha=9, gralora_k=1, gralora_dropout=0.5, **settings)
    stock = encoder(peft.get_peft_model(net, lora).eval())
    with torch.no_grad():
        ours.gralora_A["default"].copy_(stock.lora_A["default"].weight.T[None])
        ours.gralora_B["default"].copy_(stock.lora_B["default"].weight.T[None])
    return stock, ours.eval()


@pytest.mark.parametrize("use_rslora", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_k_of_one_is_lora(use_rslora, training):
    stock, ours = lora_pair(use_rslora=use_rslora)
    x, target = torch.randn(16, 24, dtype=torch.double), torch.randn(16, 48, dtype=torch.double)
    assert ours.scaling == stock.scaling
    assert largest_difference(ours.get_delta_weight("default"), stock.get_delta_weight("default")) < 1e-12
    results = []
    for layer in (stock, ours):
        layer.train(training)
        torch.manual_seed(7)  # the dropout is drawn as LoRA's is
        optimizer = torch.optim.SGD([p for n, p in layer.named_parameters() if "lora_" in n], lr=0.05)
        for _ in range(5):
            optimizer.zero_grad()
            F.mse_loss(layer(x), target).backward()
            optimizer.step()
        results.append(layer(x))
    assert largest_difference(*results) < 1e-12


@pytest.mark.parametrize("hybrid_r", [0, 4])
def test_the_hybrid_is_a_lora_beside_the_blocks(hybrid_r):
    layer = gralora_layer(nn.Linear(24, 48).double(), hybrid_r=hybrid_r, alpha=14)
    assert layer.scaling["default"] == 14 / (R + hybrid_r)
    added = layer.get_delta_weight("default") - layer.scaling["default"] * dense(*layer.blocks("default"))
    if hybrid_r:
        a, b = layer.gralora_A_general["default"].weight, layer.gralora_B_general["default"].weight
        added = added - layer.scaling["default"] * b @ a
    assert added.abs().max() < 1e-12


def flops(function, *args) -> int:
    with FlopCounterMode(display=False) as counter:
        function(*args)
    return counter.get_total_flops()


@pytest.mark.parametrize("k", KS)
def test_no_more_products_than_the_two_einsums(k):
    """One pass costs what LoRA's does, and ΔW what the one einsum `iajs,jiso->joia` does."""
    layer, x = gralora_layer(nn.Linear(96, 192), gralora_k=k), torch.randn(5, 96)
    base = flops(layer.base_layer, x)
    assert flops(layer, x) - base == 2 * 5 * R * (96 + 192)

    def einsum() -> Tensor:
        a, b = layer.gralora_A["default"], layer.gralora_B["default"]
        a, b = a.view(k, 96 // k, k, R // k), b.view(k, k, R // k, 192 // k)
        return torch.einsum("iajs,jiso->joia", a, b).reshape(192, 96)

    assert torch.allclose(einsum() * layer.scaling["default"], layer.get_delta_weight("default"), atol=1e-6)
    assert flops(layer.get_delta_weight, "default") == flops(einsum)


def saved_values(function) -> int:
    """Values that autograd keeps for the backward pass, each storage once, parameters left out."""
    seen: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter) and tensor.grad_fn is not None:
            seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes() // tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = function()
    assert out.grad_fn is not None
    return sum(seen.values())


@pytest.mark.parametrize("k", KS)
def test_the_latent_alone_is_kept_for_the_backward_pass(k):
    """k·r values per token beside the input, which LoRA keeps as well."""
    layer, x = gralora_layer(nn.Linear(96, 192), gralora_k=k), torch.randn(5, 96)
    layer.base_layer.requires_grad_(False)
    assert saved_values(lambda: layer(x)) == 5 * k * R


@pytest.mark.parametrize("kind", BASES)
def test_ordinary_adapters_start_as_a_no_op(kind):
    for hybrid_r in (0, 3):
        layer = gralora_layer(BASES[kind](24, 48), init_weights=True, hybrid_r=hybrid_r)
        x = torch.randn(5, 24)
        assert torch.equal(layer(x), layer.base_layer(x))
        assert layer.get_delta_weight("default").abs().max() == 0


def test_initial_values_are_those_of_stock_for_the_same_seed():
    """And so, at k = 1, drawn as LoRA's are."""
    for k in KS:
        models = []
        for make in (peft.GraloraConfig, None):
            torch.manual_seed(3)
            settings = {"gralora_k": k, "r": R, "init_weights": True, "target_modules": ["encoder"]}
            net = BlockNet()
            made = peft.get_peft_model(net, make(**settings)) if make else gralora_model(net, **settings)
            models.append(encoder(made))
        assert torch.equal(models[0].gralora_A["default"], models[1].gralora_A["default"])
        bound = (24 // k) ** -0.5
        assert 0.9 * bound < models[1].gralora_A["default"].abs().max() <= bound


@pytest.mark.parametrize("settings", [{}, {"hybrid_r": 8}, {"alpha": 640}, {"use_rslora": True}, {"r": 96}], ids=str)
@pytest.mark.parametrize("k", KS)
def test_random_initial_values_have_a_usable_size(k, settings):
    layer, x = gralora_layer(nn.Linear(96, 192).double(), gralora_k=k, **settings), torch.randn(99, 96).double()
    added = layer(x) - layer.base_layer(x)
    assert 0.08 < added.pow(2).mean().sqrt() < 0.12
