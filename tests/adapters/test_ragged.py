"""Nested batches: each sequence as if it came alone, and the gradients of that."""

from __future__ import annotations

from collections.abc import Callable

import peft
import pytest
import torch
from torch import Tensor, nn
from torch.autograd import grad

from glora_lab.adapters import GloraConfig, GraloraConfig

from .block_models import gralora_layer
from .small_models import SINGLES, glora_layer, largest_difference, named

pytestmark = pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage:UserWarning")

ALL_LORA = {"A": "lora", "B": "lora", "C": "lora", "D": "vector", "E": "vector"}
TOGETHER = [ALL_LORA, dict.fromkeys("ABCDE", "vector")]
FORMS = ["elementwise", "product"]
LAYOUTS = {"jagged": torch.jagged, "strided": torch.strided}
LAYERS: dict[str, Callable[[], nn.Module]] = {
    **{
        f"{named(choice)}-{form}": lambda choice=choice, form=form: glora_layer(nn.Linear(8, 6), choice, A_form=form)
        for choice in [*SINGLES, *TOGETHER]
        for form in FORMS
    },
    **{
        f"GraLoRA {k} {h}": lambda k=k, h=h: gralora_layer(nn.Linear(8, 6), r=4, gralora_k=k, hybrid_r=h)
        for k, h in ((1, 0), (2, 0), (2, 2))
    },
}


def sequences(*lengths: int, inner: tuple[int, ...] = ()) -> list[Tensor]:
    return [torch.randn(length, *inner, 8, dtype=torch.double, requires_grad=True) for length in lengths]


def nested(parts: list[Tensor], layout: str) -> Tensor:
    return torch.nested.as_nested_tensor(parts, layout=LAYOUTS[layout])


def trained(layer: nn.Module) -> list[nn.Parameter]:
    return [p for p in layer.parameters() if p.requires_grad]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", LAYERS)
def test_each_sequence_as_if_it_came_alone(name, layout):
    """Few tokens and many, with the gradients of the sequences and of the adapter."""
    layer = LAYERS[name]().double()
    layer.base_layer.requires_grad_(False)
    for lengths in ((3, 5), (40, 2, 7)):
        parts = sequences(*lengths)
        out = layer(nested(parts, layout))
        assert out.is_nested and out.layout is LAYOUTS[layout]
        alone = [layer(part) for part in parts]
        for mine, true in zip(out.unbind(), alone, strict=True):
            assert largest_difference(mine, true) < 1e-12
        wanted = [*parts, *trained(layer)]
        got = grad(torch.cat(list(out.unbind())).square().sum(), wanted)
        expected = grad(torch.cat(alone).square().sum(), wanted)
        assert all(largest_difference(mine, true) < 1e-11 for mine, true in zip(got, expected, strict=True))


@pytest.mark.parametrize("name", ["GraLoRA 2 2", f"{named(ALL_LORA)}-elementwise"])
def test_a_jagged_batch_keeps_its_offsets(name):
    """Or torch would not add the layer's input, or another layer's output, to it."""
    layer, other = LAYERS[name]().double(), nn.Linear(8, 6).double()
    x = nested(sequences(3, 5), "jagged")
    total = layer(x) + other(x)
    total += layer(x)
    assert total.shape[:2] == x.shape[:2] and torch.equal(total.offsets(), x.offsets())


@pytest.mark.parametrize("name", ["GraLoRA 2 2", f"{named(ALL_LORA)}-elementwise"])
def test_jagged_batches_of_other_shapes(name):
    """With an axis within, with the ragged axis behind the heads, and with room between the sequences."""
    layer = LAYERS[name]().double()
    parts = sequences(3, 5, inner=(2,))
    heads = nested(parts, "jagged")
    spread = torch.nested.narrow(
        torch.randn(2, 9, 8, dtype=torch.double), 1, torch.tensor([0, 2]), torch.tensor([3, 5]), layout=torch.jagged
    )
    for x in (heads, heads.transpose(1, 2), spread):
        named_for = layer(x, adapter_names=["default", "default"])
        for mine, same, one in zip(layer(x).unbind(), named_for.unbind(), x.unbind(), strict=True):
            assert largest_difference(mine, layer(one)) < 1e-12 and largest_difference(same, mine) < 1e-12


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("config", [GloraConfig, GraloraConfig], ids=["GLoRA", "GraLoRA"])
def test_adapters_of_a_model(config, layout):
    """Two at once, each sequence with its own, merged, off, and one that drops."""
    settings = {"r": 4, "target_modules": ["0"], "init_weights": False}
    model = peft.get_peft_model(nn.Sequential(nn.Linear(8, 6)), config(**settings)).eval()
    model.add_adapter("second", config(**settings))
    parts = [part.detach().float() for part in sequences(3, 5)]
    x = nested(parts, layout)

    def same(found: Tensor, alone: list[Tensor]) -> None:
        for mine, true in zip(found.unbind(), alone, strict=True):
            assert largest_difference(mine, true) < 1e-5

    model.base_model.set_adapter(["default", "second"])
    together = [model(part) for part in parts]
    same(model(x), together)
    model.merge_adapter()
    same(model(x), together)
    with model.disable_adapter():
        same(model(x), [model(part) for part in parts])
    layer = model.base_model.model[0]
    one = [layer(part, adapter_names=["second"] * len(part)) for part in parts]
    same(layer(x, adapter_names=["second", "__base__"]), [one[0], layer.base_layer(parts[1])])
    with pytest.raises(ValueError, match="got 3 and 2 respectively"):
        layer(x, adapter_names=["second"] * 3)


@pytest.mark.parametrize("config", [GloraConfig, GraloraConfig], ids=["GLoRA", "GraLoRA"])
def test_dropout_of_a_jagged_batch(config):
    drop = {"glora_dropout" if config is GloraConfig else "gralora_dropout": 0.5}
    settings = {"r": 4, "target_modules": ["0"], "init_weights": False, **drop}
    model = peft.get_peft_model(nn.Sequential(nn.Linear(8, 6)), config(**settings)).train()
    parts = [part.detach().float() for part in sequences(3, 5)]
    torch.manual_seed(1)
    found = model(nested(parts, "jagged")).values()
    torch.manual_seed(1)
    assert largest_difference(found, model(torch.cat(parts))) < 1e-6
