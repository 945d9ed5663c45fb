"""leaf_kind.py: linear layers of every class, and forwards of their own, beside what stock LoRA does with them."""

from __future__ import annotations

import copy
import gc
import weakref

import peft
import pytest
import torch
import transformers
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from glora_lab.adapters import GloraConfig, GraloraConfig
from glora_lab.adapters.base.kind import Kind, verdict
from glora_lab.adapters.glora import formula
from glora_lab.adapters.glora import layer as glora

from .small_models import SINGLES, bits, glora_layer, largest_difference, named, same_bits

OURS = {"GLoRA": GloraConfig, "GraLoRA": GraloraConfig}
START = {GloraConfig: "init_weights", GraloraConfig: "init_weights", peft.LoraConfig: "init_lora_weights"}
NO_MATRIX = {"config_A": "vector", "config_B": "lora", "config_C": "vector", "config_D": "vector", "config_E": "vector"}


class Named(nn.Linear):
    """A subclass that computes what its parent does, with the parent's forward."""


class NamedConv1D(Conv1D):
    """As Named."""


class Written(nn.Linear):
    """The same with a forward of its own, as Falcon's."""

    def forward(self, x: Tensor) -> Tensor:
        hidden = x @ self.weight.T
        return hidden if self.bias is None else hidden + self.bias


class Halved(nn.Linear):
    """Half of that, whose weight is therefore not W0, with a count of its calls."""

    def __init__(self, *sizes: int, **kwargs) -> None:
        super().__init__(*sizes, **kwargs)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x) / 2


class Saturating(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).clamp(-8, 8)


class WithoutBias(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight)


class Quantising(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        step = self.weight.abs().max() / 127
        return nn.functional.linear(x, (self.weight / step).round() * step, self.bias)


class Scaled(nn.Linear):
    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes)
        self.register_buffer("scale", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.scale


class Router(nn.Linear):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        scores = super().forward(x)
        return scores, scores.argmax(-1)


class Grouped(nn.Linear):
    """As DeepSeek's: (…, groups, in) → (…, groups, out / groups)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("...gi,goi->...go", x, self.weight.view(2, -1, self.in_features))


def model_of(layer: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(6, 6), nn.Tanh(), layer)


def adapted(layer: nn.Module, cls: type = GloraConfig, targets: object = ("0", "2"), **settings) -> peft.PeftModel:
    targets = list(targets) if isinstance(targets, tuple) else targets
    r = settings.pop("r", 2)
    return peft.get_peft_model(model_of(layer), cls(r=r, target_modules=targets, **{START[cls]: False}, **settings))


@pytest.mark.parametrize("layer, kind", [
    (Named(6, 4), Kind.LINEAR), (NamedConv1D(4, 6), Kind.LINEAR), (Written(6, 4), Kind.LINEAR),
    (Written(6, 4, bias=False).bfloat16(), Kind.LINEAR), (Halved(6, 4), Kind.FUNCTION),
    (Saturating(6, 4), Kind.FUNCTION), (WithoutBias(6, 4), Kind.FUNCTION), (WithoutBias(6, 4, bias=False), Kind.LINEAR),
    (Quantising(6, 4), Kind.FUNCTION), (Quantising(6, 4).bfloat16(), Kind.FUNCTION), (Router(6, 4), Kind.OTHER),
    (Grouped(6, 4, bias=False), Kind.OTHER),
], ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else value.name)  # fmt: skip
def test_what_a_layer_computes(layer, kind):
    """Whatever its weight is at the moment: zeros, or none at all."""
    before, random = bits(layer), torch.get_rng_state()
    assert verdict(layer).kind is kind and layer.training
    assert same_bits(layer, before) and torch.equal(torch.get_rng_state(), random)
    for other in (copy.deepcopy(layer), copy.deepcopy(layer).to("meta")):
        if not other.weight.is_meta:
            nn.init.zeros_(other.weight)
        assert verdict(other).kind is kind


def test_a_layer_whose_data_come_later_is_asked_again():
    layer = Scaled(6, 4).to("meta")
    assert verdict(layer).kind is Kind.LINEAR
    layer.to_empty(device="cpu")
    layer.scale.fill_(3)
    assert verdict(layer).kind is Kind.FUNCTION


@pytest.mark.parametrize("cls", [*OURS.values(), peft.LoraConfig])
@pytest.mark.parametrize("targets", [None, ["query_key_value"], "all-linear"], ids=str)
def test_falcon(cls, targets):
    """Starts as a no-op to the bit; trains, merges and unmerges."""
    config = transformers.FalconConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=4, vocab_size=64, bias=True
    )
    base, ids = transformers.FalconForCausalLM(config).eval(), torch.arange(9)[None]
    expected = base(ids).logits.detach()
    model = peft.get_peft_model(base, cls(r=4, target_modules=targets))
    model.eval()
    assert torch.equal(model(ids).logits, expected)
    model(ids).logits.square().sum().backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert trained and all(p.grad is not None and p.grad.isfinite().all() for p in trained)
    with torch.no_grad():
        for parameter in trained:
            nn.init.normal_(parameter, std=0.02)
    changed = model(ids).logits
    assert largest_difference(changed, expected) > 1e-4
    model.merge_adapter(safe_merge=True)
    assert largest_difference(model(ids).logits, changed) < 1e-4
    model.unmerge_adapter()
    assert largest_difference(model(ids).logits, changed) < (1e-4 if cls is peft.LoraConfig else 1e-30)


@pytest.mark.parametrize("layer", [Named(6, 4), NamedConv1D(4, 6)], ids=lambda layer: type(layer).__name__)
def test_a_subclass_with_its_parents_forward_takes_the_quick_pass(layer, monkeypatch):
    parent = copy.deepcopy(layer)
    parent.__class__ = type(layer).__mro__[1]
    passes = []
    monkeypatch.setattr(glora, "output", lambda *args, **kwargs: (passes.append(1), formula.output(*args, **kwargs))[1])
    choice = {"A": "lora", "B": "lora", "C": "lora", "D": "vector", "E": "vector"}
    torch.manual_seed(1)
    ours = glora_layer(layer.requires_grad_(False), choice)
    torch.manual_seed(1)
    theirs = glora_layer(parent.requires_grad_(False), choice)
    x = torch.randn(5, 6)
    assert torch.equal(ours(x), theirs(x)) and len(passes) == 2


def patched(layer: nn.Linear) -> nn.Linear:
    forward = layer.forward
    layer.forward = lambda x: forward(x) / 2  # type: ignore[method-assign]
    return layer


FUNCTIONS = {"a subclass": lambda: Halved(6, 4), "a patched instance": lambda: patched(nn.Linear(6, 4))}


@pytest.mark.parametrize("build", FUNCTIONS.values(), ids=FUNCTIONS)
@pytest.mark.parametrize("form", ["elementwise", "product"])
@pytest.mark.parametrize("choice", SINGLES, ids=named)
def test_a_function_is_asked(choice, form, build):
    """Its W0 is half the weight, and b0 half the bias; elementwise lora-A is refused in words."""
    base = build().double().requires_grad_(False)
    layer = glora_layer(base, choice, A_form=form)
    x = torch.randn(3, 6, dtype=torch.double, requires_grad=True)
    if choice["A"] == "lora" and form == "elementwise":
        with pytest.raises(ValueError, match=r"multiplies W0 entry by entry, and layer 'layer' .*A_form='product'"):
            layer(x)
        return
    plain = nn.Linear(6, 4).double().requires_grad_(False)
    plain.weight.data, plain.bias.data = base.weight / 2, base.bias / 2
    twin = copy.deepcopy(layer)
    twin.base_layer = plain
    assert largest_difference(layer(x), twin(x)) < 1e-12
    (got,), (wanted,) = (torch.autograd.grad(one(x).square().sum(), x) for one in (layer, twin))
    assert largest_difference(got, wanted) < 1e-11


@pytest.mark.parametrize("build", FUNCTIONS.values(), ids=FUNCTIONS)
@pytest.mark.parametrize("cls", OURS.values(), ids=OURS)
def test_a_function_is_never_merged_into(cls, build):
    """Stock LoRA merges, and the output changes."""
    settings = NO_MATRIX if cls is GloraConfig else {}
    model, x = adapted(build(), cls, **settings).eval(), torch.randn(3, 6)
    before, expected = bits(model), model(x).detach()
    before.pop("base_model.model.2.base_layer.calls", None)
    for merge in (model.merge_adapter, model.base_model.merge_and_unload):
        for safe in (True, False):
            with pytest.raises(ValueError, match=r"Layer '2' computes more than x·W0ᵀ \+ b0 .*leave it beside it"):
                merge(safe_merge=safe)
            now = bits(model)
            assert all(torch.equal(now[name], tensor) for name, tensor in before.items())
    assert model.get_model_status().merged_adapters == [] and torch.equal(model(x), expected)
    assert type(model.unload()[2]) is type(build())

    stock = adapted(build(), peft.LoraConfig).eval()
    expected = stock(x)
    stock.merge_adapter()
    assert largest_difference(stock(x), expected) > 1e-3


def test_elementwise_lora_a_over_a_function_is_refused_at_the_start():
    net = model_of(Halved(6, 4))
    with pytest.raises(ValueError, match=r"1 layer \(2\) .*\(Halved\.forward\).*A_form='product'"):
        peft.get_peft_model(net, GloraConfig(target_modules=["0", "2"]))
    assert not hasattr(net, "peft_config") and type(net[0]) is nn.Linear


def test_a_forward_that_is_patched_later_is_noticed():
    model, x = adapted(nn.Linear(6, 4)).eval(), torch.randn(3, 6)
    model(x)
    innermost = model.base_model.model[2].base_layer
    patched(innermost)
    with pytest.raises(ValueError, match="a forward put on this Linear"):
        model(x)
    with pytest.raises(ValueError, match="a forward put on this Linear"):
        model.merge_adapter()
    del innermost.forward
    model.merge_adapter()


def test_a_patch_that_only_looks_on_changes_nothing():
    layer, seen = nn.Linear(6, 4), []
    forward = layer.forward
    layer.forward = lambda x: (seen.append(len(x)), forward(x))[1]  # type: ignore[method-assign]
    model, x = adapted(layer).eval(), torch.randn(3, 6)
    expected = model(x)
    assert seen[-1] == 3
    model.merge_adapter(safe_merge=True)
    assert largest_difference(model(x), expected) < 1e-5


@pytest.mark.parametrize("build", FUNCTIONS.values(), ids=FUNCTIONS)
def test_what_is_remembered_of_a_layer_does_not_keep_it(build):
    model = adapted(build(), **NO_MATRIX)
    model(torch.randn(3, 6))
    innermost = weakref.ref(model.base_model.model[2].base_layer)
    del model
    gc.collect()
    assert innermost() is None


@pytest.mark.parametrize("cls", OURS.values(), ids=OURS)
def test_what_is_no_map_of_features_is_refused_by_name(cls):
    for layer, why in ((Router(6, 4), "returns a tuple"), (Grouped(6, 4, bias=False), "fails on")):
        with pytest.raises(ValueError, match=rf"can act on: 1 layer \(2\): {type(layer).__name__} {why}"):
            adapted(layer, cls)
        with pytest.warns(RuntimeWarning, match=rf"left as they are: 1 layer \(2\): {type(layer).__name__} {why}"):
            model = adapted(layer, cls, targets="all-linear")
        assert type(model.base_model.model[2]) is type(layer) and model.peft_config["default"].target_modules == {"0"}


@pytest.mark.parametrize("training", [True, False])
def test_a_function_under_torch_compile(training):
    model, x = adapted(Quantising(6, 4), **NO_MATRIX).train(training), torch.randn(3, 6)
    expected = model(x).detach()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    assert largest_difference(compiled(x), expected) < 1e-6
