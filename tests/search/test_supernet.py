"""A choice put into the supernet computes what an adapter built for it computes, to the last bit."""

from __future__ import annotations

import itertools
import random
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from glora_lab import DeltaMethod
from glora_lab.adapters.glora.paths import MODES, PATHS
from glora_lab.adapters.tuner.table import own_tensors
from glora_lab.adapters.view import adapted_layers
from glora_lab.search.engines import random_choice
from glora_lab.search.space import Choice, SearchSpace
from glora_lab.search.supernet import Supernet


class Sum(DeltaMethod):
    """LoRA with a vector beside it, and a fixed tensor that depends on the rank."""

    def shapes(self, out: int, in_: int, r: int) -> dict[str, tuple[int, ...]]:
        return {"v": (r, in_), "s": (r,), "u": (out, r)}

    def fixed(self, out: int, in_: int, r: int) -> dict[str, Tensor]:
        return {"signs": torch.ones(r).cumsum(0)}

    def delta(self, w0: Tensor, v: Tensor, s: Tensor, u: Tensor, signs: Tensor) -> Tensor:
        return (u * s * signs) @ v


class Small(nn.Module):
    """Two layers with a bias, and one without."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.bare, self.last = nn.Linear(8, 12), nn.Linear(12, 12, bias=False), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(torch.relu(self.bare(torch.relu(self.first(x)))))
        return out


SPACES: dict[str, dict[str, Any]] = {
    "ranks": {"method": "glora"},
    "alpha": {"method": "glora", "alpha": 16.0},
    "all paths": {"method": "glora", "modes": "all", "per": "layer"},
    "product": {"method": "glora", "modes": "all", "per": "layer", "A_form": "product", "bias_free": "add"},
    "two paths": {"method": "glora", "modes": {"B": ("lora", "none"), "E": ("vector", "constant")}},
    "lora": {"method": "lora", "per": "layer"},
    "lora with alpha": {"method": "lora", "per": "layer", "lora_alpha": 16, "use_rslora": True},
    "gralora": {"method": "gralora", "per": "layer"},
    "own": {"method": Sum, "per": "layer"},
}


def space_of(name: str, model: nn.Module) -> SearchSpace:
    return SearchSpace.of(model, ranks=(1, 2, 4), **SPACES[name])


def trained_somehow(model: nn.Module, space: SearchSpace) -> Supernet:
    net = Supernet(model, space)
    with torch.no_grad():
        for tensor in net.shared.values():
            tensor.add_(torch.randn_like(tensor) * 0.1)
    return net


def check_equal(net: Supernet, choice: Choice, x: Tensor) -> None:
    """Outputs and gradients, in training and in evaluation, of many rows and of one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        built = net.built(choice)
    assert sum(p.numel() for p in built.parameters() if p.requires_grad) == net.space.params(choice)
    for training, rows in ((True, len(x)), (False, len(x)), (False, 1)):
        net.choose(choice)
        built.train(training), net.model.train(training)
        for tensor in net.shared.values():
            tensor.grad = None
        built.zero_grad()
        ours, wanted = net.model(x[:rows]), built(x[:rows])
        assert torch.equal(ours, wanted)
        ours.square().sum().backward(), wanted.square().sum().backward()
        picked = net.space.picked(choice)
        for name, layer in adapted_layers(built).items():
            wanted_grads = {n: p.grad for n, p in own_tensors(layer, "default").items() if p.requires_grad}
            held = net._layers[name]._held[net.space.method.weights_of(picked[name])]
            grads = {n: torch.zeros_like(t) if t.grad is None else t.grad for n, t in held.items()}
            shapes = {n: tuple(grad.shape) for n, grad in wanted_grads.items()}
            for n, part in net.space.method.part(grads, shapes, picked[name]).items():
                assert torch.equal(part, wanted_grads[n].view_as(part)), (name, n)


@pytest.mark.parametrize("name", SPACES)
def test_choosing_equals_building(name: str) -> None:
    torch.manual_seed(0)
    model, x = Small(), torch.randn(5, 8)
    space = space_of(name, model)
    net, draw = trained_somehow(model, space), random.Random(0)
    for choice in [space.largest, space.smallest, *(random_choice(space, draw) for _ in range(12))]:
        check_equal(net, choice, x)


@pytest.mark.parametrize("form", ["elementwise", "product"])
def test_all_432_modes_at_all_ranks(form: str) -> None:
    """How A multiplies is a question where it has more than one number, and only there."""
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(6, 4)), torch.randn(3, 6)
    space = SearchSpace.of(model, ranks=(1, 3), modes="all", target_modules=["0"], A_form=form)
    net = trained_somehow(model, space)
    assert space.size == 2 * 432
    for choice in itertools.product(*(range(len(slot.options)) for slot in space.slots)):
        if space.fits(choice) and (form == "elementwise" or space.picked(choice)["0"]["A"] in ("lora", "vector")):
            check_equal(net, choice, x)


def test_a_step_of_training_is_seen_when_chosen_again() -> None:
    model, x = Small(), torch.randn(5, 8)
    net = Supernet(model, space_of("ranks", model))
    before = net.model(x)
    before.square().sum().backward()
    torch.optim.SGD(net.shared.values(), lr=0.1).step()
    net.choose(net.space.largest)
    assert not torch.equal(net.model(x), before)


def test_copies_train_and_leave_the_shared_weights() -> None:
    model, x = Small(), torch.randn(5, 8)
    net = trained_somehow(model, space_of("all paths", model))
    before = {name: tensor.clone() for name, tensor in net.shared.items()}
    net.choose_copy(net.space.largest)
    own = [p for p in net.model.parameters() if p.requires_grad]
    net.model(x).square().sum().backward()
    torch.optim.SGD(own, lr=0.1).step()
    assert sum(p.numel() for p in own) == net.space.params(net.space.largest)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.shared.items())


def test_it_is_saved_and_loaded(tmp_path: Path) -> None:
    model, x = Small(), torch.randn(5, 8)
    space = space_of("gralora", model)
    net = trained_somehow(model, space)
    net.save(tmp_path)
    again = Supernet(model, space, seed=1)
    again.load(tmp_path)
    for made in (net, again):
        made.choose(space.largest)
    assert torch.equal(net.model(x), again.model(x))
    with pytest.raises(ValueError, match=r"`folder` .* must hold the weights of this space"):
        Supernet(model, space_of("ranks", model)).load(tmp_path)


def test_choosing_takes_less_than_a_millisecond() -> None:
    """On digits-vit, in processor time, the median of a hundred random settings of 18 layers."""
    from glora_lab import load_model

    model = load_model("digits-vit")
    space = SearchSpace.of(model, modes="all", per="layer")
    net, draw = Supernet(model, space), random.Random(0)
    choices = [random_choice(space, draw) for _ in range(100)]
    took = []
    for choice in choices * 2:
        started = time.process_time()
        net.choose(choice)
        took.append(time.process_time() - started)
    assert len(PATHS) == 5 and len(MODES["A"]) == 4
    assert sorted(took[100:])[50] < 2e-3  # .5 ms on a quiet core
