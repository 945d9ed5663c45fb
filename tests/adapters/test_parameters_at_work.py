"""Adapters over parameters under what runs, moves and copies a model."""

from __future__ import annotations

import copy
import io
import threading
from pathlib import Path

import accelerate
import pytest
import torch
from peft.utils.hotswap import hotswap_adapter
from torch import nn
from torch.utils.checkpoint import checkpoint

from .expert_models import logits, moe
from .test_parameters import METHODS, adapted

WORK = pytest.mark.parametrize(("kind", "case"), METHODS)


@WORK
def test_checkpointing_computes_the_experts_anew_with_their_adapters(kind, case) -> None:
    layer = adapted(moe(), kind, case).base_model.model.model.layers[0].mlp.experts
    given = torch.randn(9, 16).double(), torch.randint(0, 4, (9, 2)), torch.rand(9, 2).double()
    trained = list(layer.tensors("default").values())
    plain = torch.autograd.grad(layer(*given).square().mean(), trained)
    again = torch.autograd.grad(checkpoint(layer, *given, use_reentrant=False).square().mean(), trained)
    assert all(map(torch.equal, plain, again)) and all(one.abs().max() > 0 for one in plain)


@WORK
def test_two_threads_find_the_adapted_weight_and_leave_the_base(kind, case) -> None:
    """Each also runs the base alone, so that a weight left in place, or taken away too soon, shows."""
    model = adapted(moe(), kind, case)
    layer = model.base_model.model.model.layers[0].mlp.experts
    x, index, weights = torch.randn(9, 16).double(), torch.randint(0, 4, (9, 2)), torch.rand(9, 2).double()
    with torch.no_grad():
        true, wrong = layer(x, index, weights), []

    def run() -> None:
        with torch.no_grad():
            wrong.extend(1 for _ in range(60) if not torch.equal(layer(x, index, weights), true))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert all(type(p) is nn.Parameter for p in layer.get_base_layer().parameters())


@WORK
def test_an_error_in_the_module_leaves_its_own_weight(kind, case) -> None:
    model = adapted(moe(), kind, case)
    layer = model.base_model.model.model.layers[0].mlp.experts
    with pytest.raises(IndexError):
        layer(torch.randn(9, 16).double(), torch.randint(0, 4, (9, 2)), torch.rand(9, 1).double())
    assert all(type(p) is nn.Parameter for p in layer.get_base_layer().parameters())
    assert torch.equal(logits(model.unload()), logits(moe()))


@WORK
def test_copies_and_pickles_compute_the_same(kind, case) -> None:
    model = adapted(moe(), kind, case)
    written = io.BytesIO()
    torch.save(model, written)
    written.seek(0)
    for twin in (copy.deepcopy(model), torch.load(written, weights_only=False)):
        assert torch.equal(logits(twin), logits(model))


@WORK
def test_experts_that_accelerate_offloads(kind, case) -> None:
    model = adapted(moe(), kind, case)
    out = logits(model)
    accelerate.cpu_offload(model, execution_device=torch.device("cpu"))
    assert torch.equal(logits(model), out)
    model.merge_adapter()
    assert torch.equal(logits(model), out)
    model.unmerge_adapter()
    assert torch.equal(logits(model), out)


@WORK
def test_hot_swapping(kind, case, tmp_path: Path) -> None:
    other, model = adapted(moe(), kind, case), adapted(moe(), kind, case)
    other.save_pretrained(str(tmp_path))
    assert not torch.equal(logits(model), logits(other))
    hotswap_adapter(model, str(tmp_path), "default", torch_device="cpu")
    assert torch.equal(logits(model), logits(other))


@WORK
def test_half_the_scale_is_half_the_way(kind, case) -> None:
    model = adapted(moe(), kind, case)
    layer = model.base_model.model.model.layers[0].mlp.experts
    delta = layer.get_delta_weight("default")
    layer.set_scale("default", 0.5)
    torch.testing.assert_close(layer.get_delta_weight("default"), delta / 2)


@WORK
def test_low_precision_is_summed_in_float32_and_rounded_once(kind, case) -> None:
    model = adapted(moe("mixtral", torch.bfloat16), kind, case)
    layer = model.base_model.model.model.layers[0].mlp.experts
    w0 = layer.get_base_layer().down_proj.detach()
    assert {p.dtype for p in layer.tensors("default").values()} == {torch.float32}
    delta, _ = layer.added(["default"], torch.float64)
    torch.testing.assert_close(
        layer._effective(["default"]).double(), (w0 + delta).bfloat16().double(), rtol=4e-3, atol=0
    )
    logits(model).float().square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in layer.tensors("default").values())
