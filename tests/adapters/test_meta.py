"""Models without data: adapters are put on, counted, run for their shapes, and filled later."""

from __future__ import annotations

import copy

import peft
import pytest
import torch
from torch import nn

from glora_lab.adapters import GloraConfig, GraloraConfig

from .block_models import BlockNet
from .small_models import INERT, expecting, llama

CONFIGS = {
    "GLoRA": lambda **s: GloraConfig(r=4, init_weights=False, **s),
    "GraLoRA": lambda **s: GraloraConfig(r=8, hybrid_r=2, init_weights=False, **s),
}
each = pytest.mark.parametrize("kind", CONFIGS)


def on(device: str, kind: str) -> nn.Module:
    with torch.device(device):
        net = BlockNet()
    return peft.get_peft_model(net, CONFIGS[kind](target_modules=["encoder", "decoder"]))


@each
@pytest.mark.parametrize("training", [True, False])
def test_a_model_on_the_meta_device_has_shapes(kind, training):
    model = on("meta", kind).train(training)
    assert {p.device.type for p in model.parameters()} == {"meta"}
    out = model(torch.empty(5, 24, device="meta"))
    assert out.shape == (5, 3) and out.device.type == "meta"
    out.sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert gradients and all(g is not None and g.device.type == "meta" for g in gradients.values())


@each
def test_a_model_on_the_meta_device_is_filled_later(kind):
    full, empty, x = on("cpu", kind), on("meta", kind), torch.randn(5, 24)
    empty.to_empty(device="cpu")
    empty.load_state_dict(full.state_dict())
    assert torch.equal(empty(x), full(x))
    empty.merge_adapter()
    assert torch.allclose(empty(x), full(x), atol=1e-5)


@each
def test_adapters_alone_on_the_meta_device(kind):
    """`low_cpu_mem_usage` makes no values where a checkpoint brings them."""
    net, x = BlockNet(), torch.randn(5, 24)
    targets = {"target_modules": ["encoder", "decoder"]}
    full = peft.get_peft_model(copy.deepcopy(net), CONFIGS[kind](**targets))
    model = peft.get_peft_model(net, CONFIGS[kind](**targets), low_cpu_mem_usage=True)
    assert {p.device.type for n, p in model.named_parameters() if p.requires_grad} == {"meta"}
    assert {p.device.type for n, p in model.named_parameters() if not p.requires_grad} == {"cpu"}
    weights = peft.get_peft_model_state_dict(full)
    loaded = peft.set_peft_model_state_dict(model, weights, low_cpu_mem_usage=True)
    assert loaded.unexpected_keys == []
    assert torch.equal(model(x), full(x))


@each
def test_a_language_model_without_data(kind):
    with torch.device("meta"):
        model = llama()
    with expecting(INERT):
        model = peft.get_peft_model(model, CONFIGS[kind](target_modules=["v_proj", "down_proj"]))
    ids = torch.empty(2, 3, dtype=torch.long, device="meta")
    assert model(input_ids=ids).logits.shape == (2, 3, 64)
    trains, every = model.get_nb_trainable_parameters()
    assert 0 < trains < every
