"""What a model does around a layer: write into its output, differentiate twice or by batches, trace it, copy it."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable

import peft
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import grad, gradgradcheck

from glora_lab.adapters import GloraConfig, GraloraConfig
from glora_lab.adapters.glora import formula, plain_base, scaled_weight
from glora_lab.adapters.glora import layer as glora

from .block_models import gralora_layer
from .small_models import (
    CHOICES,
    SECOND_TUNER,
    SINGLES,
    conv1d,
    expecting,
    glora_layer,
    largest_difference,
    named,
    replica_of,
)

# torch compiles its forward-mode formulas at the first jvp, with a function that it deprecates itself
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")

BASES = {"Linear": nn.Linear, "Conv1D": conv1d}
ALL_LORA = {"A": "lora", "B": "lora", "C": "lora", "D": "vector", "E": "vector"}
ALL_VECTOR = dict.fromkeys("ABCDE", "vector")
TOGETHER = [ALL_LORA, ALL_VECTOR, {**ALL_VECTOR, "A": "lora"}, {**ALL_LORA, "A": "vector"}, {**ALL_LORA, "B": "vector"}]
FORMS = ["elementwise", "product"]
GRIDS = [{"gralora_k": 1}, {"gralora_k": 2}, {"gralora_k": 2, "hybrid_r": 2}]
SHAPES = [(3,), (40,), (2, 3), (2, 40), (2, 3, 9)]  # few tokens, and more than `plain_base.FEW`


def layer_of(choice: dict[str, str], base: str = "Linear", **settings) -> nn.Module:
    layer = glora_layer(BASES[base](6, 4).double(), choice, **{"r": 2, "alpha": 6, **settings})
    layer.base_layer.requires_grad_(False)
    return layer


def grid_of(settings: dict[str, int]) -> nn.Module:
    layer = gralora_layer(nn.Linear(6, 4).double(), r=2, **settings)
    layer.base_layer.requires_grad_(False)
    return layer


def trained(layer: nn.Module) -> list[nn.Parameter]:
    return [p for p in layer.parameters() if p.requires_grad]


def inputs(*leading: int) -> Tensor:
    return torch.randn(*leading, 6, dtype=torch.double, requires_grad=True)


LAYERS: dict[str, Callable[[], nn.Module]] = {
    **{f"{named(c)}-{form}": lambda c=c, form=form: layer_of(c, A_form=form) for c in TOGETHER for form in FORMS},
    **{f"{named(c)}": lambda c=c: layer_of(c) for c in SINGLES},
    "A lora-product": lambda: layer_of(SINGLES[0], A_form="product"),
    "dropout": lambda: layer_of(ALL_LORA, glora_dropout=0.5),
    **{f"GraLoRA {settings}": lambda settings=settings: grid_of(settings) for settings in GRIDS},
}
IN_PLACE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add_": lambda h, other: h.add_(other),
    "relu_": lambda h, other: h.relu_(),
    "mul_": lambda h, other: h.mul_(other),
    "in a slice": lambda h, other: h[..., :2].mul_(other[..., :2]),
}
BESIDE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add_": lambda h, other: h + other,
    "relu_": lambda h, other: h.relu(),
    "mul_": lambda h, other: h * other,
    "in a slice": lambda h, other: torch.cat([h[..., :2] * other[..., :2], h[..., 2:]], -1),
}


@pytest.mark.parametrize("how", IN_PLACE)
@pytest.mark.parametrize("name", LAYERS)
def test_a_model_may_write_into_the_output(name, how):
    """As `h += residual` and `nn.ReLU(inplace=True)` do; nothing that is kept for the gradients is spoilt by it."""
    layer = LAYERS[name]()
    for shape in SHAPES:
        x, other = inputs(*shape), torch.randn(*shape, 4, dtype=torch.double)
        found = []
        for write in (IN_PLACE[how], BESIDE[how]):
            torch.manual_seed(1)
            out = layer(x)
            changed = write(out, other)
            changed = out if write is IN_PLACE[how] else changed
            found.append([changed, *grad(changed.square().sum(), [x, *trained(layer)])])
        assert all(torch.equal(mine, wanted) for mine, wanted in zip(*found, strict=True)), shape


@pytest.mark.parametrize("config", [GloraConfig, GraloraConfig], ids=["GLoRA", "GraLoRA"])
def test_a_model_may_write_into_the_output_of_stacks_and_beside_adapters_that_are_off(config):
    """Two adapters at once, one over another tuner's, a batch of several, and none."""
    x, other = inputs(2, 40).float().detach().requires_grad_(), torch.randn(2, 40, 4)
    settings = {"target_modules": ["layer"], "r": 2, "init_weights": False}
    lora = peft.LoraConfig(target_modules=["layer"], r=2, init_lora_weights=False)
    model = peft.get_peft_model(nn.ModuleDict({"layer": nn.Linear(6, 4)}), config(**settings))
    model.add_adapter("second", config(**settings))
    one = model.base_model.model["layer"]
    inner = peft.get_peft_model(nn.ModuleDict({"layer": nn.Linear(6, 4)}), lora).base_model.model
    with expecting(SECOND_TUNER, "You are trying to modify a model with PEFT for a second time"):
        stack = peft.get_peft_model(inner, config(**settings)).base_model.model["layer"]

    def both(x: Tensor) -> Tensor:
        model.base_model.set_adapter(["default", "second"])
        return one(x)

    def off(x: Tensor) -> Tensor:
        with model.disable_adapter():
            return one(x)

    ways = [both, off, stack, lambda x: one(x, adapter_names=["second", "__base__"])]
    for way in [*ways, lambda x: one(x, adapter_names=["second", "second"])]:
        found = [grad(change(way(x)).square().sum(), x)[0] for change in (lambda h: h.add_(other), lambda h: h + other)]
        assert torch.equal(*found)


def dense(layer: nn.Module, x: Tensor) -> Tensor:
    """The layer as one matrix that is made of its parameters."""
    base, of_bias = layer.base_layer, layer.bias_delta("default")
    weight = base.weight if isinstance(base, nn.Linear) else base.weight.T
    weight = weight + layer.weight_delta("default")
    return F.linear(x, weight, base.bias if of_bias is None else base.bias + of_bias)


def check_twice(layer: nn.Module, x: Tensor) -> None:
    """A penalty on the gradients of x and of the parameters has the gradients that the dense layer gives it."""
    found = []
    for way in (layer, lambda x: dense(layer, x)):
        wanted = [x, *trained(layer)]
        first = grad(way(x).pow(3).sum(), wanted, create_graph=True, allow_unused=True, materialize_grads=True)
        penalty = sum(of.square().sum() for of in first)
        second = grad(penalty, wanted, create_graph=True, allow_unused=True, materialize_grads=True)
        third = grad(sum(of.square().sum() for of in second), wanted, allow_unused=True, materialize_grads=True)
        found.append([*first, *second, *third])
    for mine, true in zip(*found, strict=True):
        assert largest_difference(mine, true) < 1e-9 * true.abs().max().clamp(min=1)


@pytest.mark.parametrize("leading", [(3,), (2, 40)], ids=str)
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("form", FORMS)
def test_a_gradient_of_a_gradient_is_that_of_the_dense_layer(monkeypatch, form, base, leading):
    """And its gradient; over a layer large enough that lora-A is not formed at once."""
    monkeypatch.setattr(scaled_weight, "SMALL", 0)
    monkeypatch.setattr(plain_base, "SMALL", 0)
    for choice in [*SINGLES, *TOGETHER, *CHOICES[::9]]:
        if set(choice.values()) != {"none"}:
            check_twice(layer_of(choice, base, A_form=form), inputs(*leading))


@pytest.mark.parametrize("choice", [ALL_LORA, {**ALL_VECTOR, "A": "lora"}], ids=named)
def test_an_adapter_at_its_start_has_them_too(choice):
    """Where the output does not depend on A yet, its gradient does."""
    check_twice(layer_of(choice, init_weights=True), inputs(40))


@pytest.mark.parametrize("settings", GRIDS, ids=str)
def test_a_gradient_of_a_gradient_of_gralora(settings):
    check_twice(grid_of(settings), inputs(2, 3))


@pytest.mark.parametrize("name", LAYERS)
def test_gradgradcheck(name):
    layer = LAYERS[name]().eval()
    for tokens in (3, 40):
        assert gradgradcheck(lambda x, *_: layer(x), (inputs(tokens), *trained(layer)), fast_mode=True)


@pytest.mark.parametrize("slow", [True, False], ids=["slow", "native"])
@pytest.mark.parametrize("choice", [*SINGLES, *TOGETHER], ids=named)
def test_in_low_precision_it_is_as_exact_as_beside_the_base(monkeypatch, choice, slow):
    """Over several draws together, for a constant's gradient is one sum of many values, which may cancel."""
    monkeypatch.setattr(formula, "is_slow", lambda *_: slow)

    def twice(layer: nn.Module, x: Tensor, upstream: Tensor) -> list[Tensor]:
        wanted = [x, *trained(layer)]
        out = layer(x)
        first = grad(out, wanted, out * upstream, create_graph=True)
        penalty = sum(of.square().mean() for of in first)
        found = grad(penalty, wanted, allow_unused=True, materialize_grads=True)
        return [of.double() for of in found]

    together: list[list[Tensor]] = []  # by draw: for every gradient its errors and its size
    for _ in range(8):
        layer = glora_layer(nn.Linear(48, 32).bfloat16(), choice)
        layer.base_layer.requires_grad_(False)
        for path in layer.paths("default").values():
            path.float()
        x = torch.randn(64, 48).bfloat16().requires_grad_()
        upstream = torch.randn(64, 32).bfloat16()
        found = twice(layer, x, upstream)
        with monkeypatch.context() as plain:
            plain.setattr(glora, "applies", lambda *_: False)
            beside = twice(layer, x, upstream)
        wanted = twice(copy.deepcopy(layer).double(), x.detach().double().requires_grad_(), upstream.double())
        sizes = zip(found, beside, wanted, strict=True)
        together.append([torch.stack([(m - t).norm(), (b - t).norm(), t.norm()]) for m, b, t in sizes])
    for draws in zip(*together, strict=True):
        mine, theirs, size = torch.stack(draws).square().sum(0).sqrt()
        assert mine <= 2 * theirs + 0.02 * size


@pytest.mark.parametrize("name", LAYERS)
def test_batches_of_gradients(name):
    """`is_grads_batched`, `jacobian(vectorize=True)`, torch.vmap over a backward pass: the gradients one by one."""
    layer = LAYERS[name]().eval()
    for leading in ((3,), (2, 20)):
        x = inputs(*leading)
        out, wanted = layer(x), [x, *trained(layer)]
        several = torch.randn(3, *out.shape, dtype=torch.double)
        one_by_one = [grad(out, wanted, one, retain_graph=True) for one in several]
        true = [torch.stack(of) for of in zip(*one_by_one, strict=True)]
        ways = [
            lambda out=out, w=wanted, several=several: grad(out, w, several, retain_graph=True, is_grads_batched=True),
            lambda out=out, w=wanted, several=several: torch.vmap(lambda g: grad(out, w, g, retain_graph=True))(
                several
            ),
        ]
        for way in ways:
            assert all(largest_difference(mine, of) < 1e-11 for mine, of in zip(way(), true, strict=True))
        summed = lambda x: layer(x).flatten(0, -2).sum(0)  # noqa: E731
        jacobian = torch.autograd.functional.jacobian
        assert largest_difference(jacobian(summed, x, vectorize=True), jacobian(summed, x)) < 1e-11
    hessian = torch.autograd.functional.hessian
    square = lambda x: layer(x).square().sum()  # noqa: E731
    assert largest_difference(hessian(square, inputs(40)[:36], vectorize=True)[0, :, 0], of_matrix(layer)) < 1e-11


def of_matrix(layer: nn.Module) -> Tensor:
    """2·WᵀW: the Hessian of |W·x|² in x."""
    eye = torch.eye(6, dtype=torch.double)
    weight = (layer(eye) - layer(torch.zeros_like(eye))).T.detach()
    return 2 * weight.T @ weight


def test_a_hessian_under_torch_func_is_exact():
    layer = layer_of(ALL_LORA)
    hessian = torch.func.hessian(lambda x: layer(x).pow(2).sum())(inputs(3).detach())
    assert largest_difference(hessian[0, :, 0], of_matrix(layer)) < 1e-12


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("name", [name for name in LAYERS if name != "dropout"])
def test_tracing_in_training(name):
    layer, x = LAYERS[name](), inputs(2, 20)
    traced = torch.jit.trace(layer, inputs(2, 20).detach())
    for other in (x, inputs(2, 20)):
        found = [[out, *grad(out.square().sum(), [other, *of])] for out, of in run(layer, traced, other)]
        assert all(largest_difference(mine, true) < 1e-11 for mine, true in zip(*found, strict=True))


def run(layer: nn.Module, traced: nn.Module, x: Tensor) -> list[tuple[Tensor, list[nn.Parameter]]]:
    by_name = {name: p for name, p in traced.named_parameters() if p.requires_grad}
    mine = [by_name[name] for name, p in layer.named_parameters() if p.requires_grad]
    return [(layer(x), trained(layer)), (traced(x), mine)]


@pytest.mark.parametrize("name", LAYERS)
def test_a_copy_of_data_parallel(name):
    layer = LAYERS[name]()
    for leading in ((3,), (2, 20)):
        x, found = inputs(*leading), []
        for one in (layer, replica_of(layer)):
            torch.manual_seed(1)
            out = one(x)
            found.append([out, *grad(out.square().sum(), [x, *trained(layer)])])
        assert all(largest_difference(mine, true) < 1e-11 for mine, true in zip(*found, strict=True))


def test_a_saved_tensor_that_was_written_into_is_noticed():
    """By torch, as behind any layer."""
    for choice, leading in itertools.product((ALL_LORA, {**ALL_LORA, "A": "none"}), SHAPES):
        layer, x = layer_of(choice), inputs(*leading).tanh()
        out = layer(x)
        x.zero_()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            out.sum().backward()
