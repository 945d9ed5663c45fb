"""What the layers of both methods do alike: what trains, autocast, checkpointing and compiling, and who is left."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import peft
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from glora_lab.adapters import GloraConfig, GloraLinear, GraloraConfig, GraloraLinear

from .block_models import BASES, BlockNet, gralora_layer, gralora_model
from .block_models import add as add_blocks
from .small_models import SINGLES, add, glora_layer, glora_model, largest_difference, named

EVERY_PATH = {"A": "lora", "B": "lora", "C": "lora", "D": "vector", "E": "vector"}
NO_LORA = {"A": "vector", "B": "vector", "C": "vector", "D": "constant", "E": "constant"}


def of_paths(base: Callable[[int, int], nn.Module], choice: dict[str, str] = EVERY_PATH, **settings) -> nn.Module:
    return glora_layer(base(6, 5), choice, **settings)


def of_blocks(base: Callable[[int, int], nn.Module], **settings) -> nn.Module:
    return gralora_layer(base(24, 48), **settings)


LAYERS = {
    "GLoRA": of_paths,
    "GLoRA, product": partial(of_paths, A_form="product"),
    "GraLoRA": of_blocks,
    "GraLoRA, hybrid": partial(of_blocks, hybrid_r=3),
}
NARROW = {"GLoRA, no lora": partial(of_paths, choice=NO_LORA)}
ALONE = {f"GLoRA, {named(choice)}": partial(of_paths, choice=choice) for choice in SINGLES}
# a model with random values in its adapter, and how to add a second
MODELS = {
    "GLoRA": (glora_model, add),
    "GraLoRA": (partial(gralora_model, hybrid_r=3), partial(add_blocks, gralora_k=2)),
}
models = pytest.mark.parametrize("make, second", MODELS.values(), ids=MODELS)


def each(cases: dict[str, Callable[..., nn.Module]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("make", cases.values(), ids=cases)


def own(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in model.named_parameters() if is_own(name)}


def is_own(name: str) -> bool:
    return "lora_" in name


def rows(layer: nn.Module) -> torch.Tensor:
    return torch.randn(4, layer.in_features)


@each(LAYERS)
@pytest.mark.parametrize("kind", BASES)
def test_only_adapters_change_in_training(kind, make):
    layer = make(BASES[kind])
    base = layer.base_layer.requires_grad_(False)
    before = base.weight.clone(), base.bias.clone()
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        layer(rows(layer)).pow(2).sum().backward()
        optimizer.step()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in own(layer).values())
    assert base.weight.grad is None and base.bias.grad is None
    assert torch.equal(base.weight, before[0]) and torch.equal(base.bias, before[1])


@models
def test_only_adapter_parameters_train_in_a_model(make, second):
    model = make(BlockNet())
    model(torch.randn(4, 24)).sum().backward()
    assert own(model) and all(p.requires_grad == is_own(name) for name, p in model.named_parameters())
    assert all((p.grad is not None) == is_own(name) for name, p in model.named_parameters())


@models
def test_the_base_runs_once_for_several_adapters(make, second):
    model = make(BlockNet())
    second(model, "second")
    model.base_model.set_adapter(["default", "second"])
    calls = []
    model.base_model.model.encoder.base_layer.register_forward_hook(lambda *_: calls.append(1))
    model(torch.randn(2, 24)).sum().backward()
    assert len(calls) == 1


@each(LAYERS | ALONE)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(dtype, make):
    layer = make(nn.Linear)
    x = rows(layer)
    expected = layer(x)
    with torch.autocast("cpu", dtype=dtype):
        out = layer(x)
    assert out.dtype == dtype and largest_difference(out.float(), expected) < 0.05
    out.float().sum().backward()
    assert all(p.grad.dtype == torch.float32 for p in own(layer).values())


@each(LAYERS)
def test_gradient_checkpointing(make):
    layer = make(nn.Linear)
    x, trained = rows(layer), [*own(layer).values()]
    plain = torch.autograd.grad(layer(x).pow(2).sum(), trained)
    checkpointed = torch.autograd.grad(checkpoint(layer, x, use_reentrant=False).pow(2).sum(), trained)
    assert all(torch.equal(a, b) for a, b in zip(plain, checkpointed, strict=True))


@each(LAYERS | NARROW)
def test_compiles_without_a_graph_break(make):
    layer = make(nn.Linear)
    x, compiled = rows(layer), torch.compile(layer, backend="aot_eager", fullgraph=True)
    assert largest_difference(compiled(x), layer(x)) < 1e-6
    compiled(x).sum().backward()
    assert all(p.grad is not None for p in own(layer).values())


@models
def test_disabled_and_deleted_adapters_leave_the_base(make, second):
    net, x = BlockNet(), torch.randn(4, 24)
    expected = net(x)
    model = make(net)
    assert not torch.equal(model(x), expected)
    with model.disable_adapter():
        assert torch.equal(model(x), expected)
    model.delete_adapter("default")
    # PeftModel itself, stock LoRA too, looks up its last adapter by name in `forward`: ask the tuner
    assert torch.equal(model.base_model(x), expected)
    layer = model.base_model.model.encoder
    assert not own(model) and not any(getattr(layer, name) for name in layer.other_param_names)


@models
def test_deleting_the_active_adapter_activates_another(make, second):
    model, x = make(BlockNet()), torch.randn(4, 24)
    second(model, "second")
    model.set_adapter("second")
    expected = model(x)
    model.set_adapter("default")
    with pytest.warns(UserWarning, match="default was active which is now deleted"):
        model.delete_adapter("default")
    assert torch.equal(model(x), expected)


@pytest.mark.parametrize("make, start", [(of_paths, "glora.GloraLinear("), (of_blocks, "gralora.GraloraLinear(")])
def test_repr_says_the_method(make, start):
    layer = make(nn.Linear)
    assert repr(layer).startswith(start) and isinstance(layer, peft.tuners.tuners_utils.BaseTunerLayer)


def test_an_adapter_that_is_replaced_leaves_nothing_of_the_old():
    paths = GloraLinear(nn.Linear(6, 4), "default", GloraConfig(target_modules=["x"], r=2))
    paths.update_layer("default", GloraConfig.only(B="lora", target_modules=["x"], r=2))
    assert paths.tensors("default").keys() == {"glora_B.Xd", "glora_B.Xu"}
    blocks = GraloraLinear(nn.Linear(6, 4), "default", GraloraConfig(target_modules=["x"], r=2, hybrid_r=1))
    blocks.update_layer("default", GraloraConfig(target_modules=["x"], r=2))
    assert blocks.tensors("default").keys() == {"gralora_A", "gralora_B"}
