"""GraLoRA under accelerate's cpu_offload, beside test_offload.py: there stock PEFT's is silently ignored."""

from __future__ import annotations

import copy

import accelerate
import torch
from torch import nn

from .block_models import BlockNet, gralora_model, stock_model


def offload(model: nn.Module) -> None:
    accelerate.cpu_offload(model, execution_device=torch.device("cpu"))
    assert {p.device.type for p in model.parameters()} == {"meta"}


def test_mixed_batches_in_an_offloaded_model():
    model, x = gralora_model(BlockNet()), torch.randn(4, 24)
    names = ["default", "__base__", "default", "__base__"]
    expected = model(x, adapter_names=names)
    offload(model)
    assert torch.equal(model(x, adapter_names=names), expected)


def test_an_adapter_added_to_an_offloaded_model():
    net, x = BlockNet(), torch.randn(4, 24)
    torch.manual_seed(1)
    expected = gralora_model(copy.deepcopy(net), hybrid_r=3)(x)
    offload(net)
    torch.manual_seed(1)
    assert torch.equal(gralora_model(net, hybrid_r=3)(x), expected)


def test_stock_adapters_do_not_survive_offloading():
    """Adding a tensor on the meta device in place changes nothing, and raises nothing."""
    model, x = stock_model(BlockNet()), torch.randn(4, 24)
    with model.disable_adapter():
        base = model(x)
    assert not torch.equal(model(x), base)
    offload(model)
    assert torch.equal(model(x), base)


def test_loading_on_the_meta_device_leaves_room_for_values(tmp_path):
    net, x = BlockNet(), torch.randn(4, 24)
    model = gralora_model(copy.deepcopy(net), hybrid_r=3)
    model.save_pretrained(tmp_path)
    other = gralora_model(copy.deepcopy(net), adapter_name="other")
    other.load_adapter(tmp_path, "default", low_cpu_mem_usage=True)
    other.set_adapter("default")
    assert torch.equal(other(x), model(x))
