"""computed_weight.py: layers that compute their weight run and train with an adapter, and are never half merged."""

from __future__ import annotations

import copy

import peft
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.nn.utils import spectral_norm as hooked_spectral_norm
from torch.nn.utils import weight_norm as hooked_weight_norm

from glora_lab.adapters import GloraConfig, GraloraConfig
from glora_lab.adapters.base.computed import how_computed

from .small_models import bits, largest_difference, same_bits

pytestmark = pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning")

OURS = {"GLoRA": GloraConfig, "GraLoRA": GraloraConfig}
ALL_LORA = {"config_A": "lora", "config_B": "lora", "config_C": "lora", "config_D": "vector", "config_E": "vector"}


class Doubled(nn.Module):
    def forward(self, tensor: Tensor) -> Tensor:
        return tensor * 2


WAYS = {
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "a parametrisation": lambda innermost: parametrize.register_parametrization(innermost, "weight", Doubled()),
    "a parametrised bias": lambda innermost: parametrize.register_parametrization(innermost, "bias", Doubled()),
    "weight_norm by hooks": hooked_weight_norm,
    "spectral_norm by hooks": hooked_spectral_norm,
    "pruned": lambda innermost: prune.l1_unstructured(innermost, "weight", 0.3),
    "pruned twice": lambda innermost: prune.random_unstructured(
        prune.l1_unstructured(innermost, "weight", 0.3), "weight", 0.3
    ),
    "pruned bias": lambda innermost: prune.l1_unstructured(innermost, "bias", 0.3),
}


class Stack(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.first(x)))


def adapted(model: nn.Module, cls: type = GloraConfig) -> peft.PeftModel:
    settings = ALL_LORA if cls is GloraConfig else {}
    return peft.get_peft_model(model, cls(r=2, target_modules=["first", "last"], init_weights=False, **settings))


def plain_twin(model: peft.PeftModel) -> peft.PeftModel:
    """The same with the weight that the last layer computes, as a parameter."""
    innermost = model.base_model.model.last.get_base_layer()
    values = innermost.weight.detach().clone(), innermost.bias.detach().clone()
    model.base_model.model.last.base_layer = None
    twin = copy.deepcopy(model)
    model.base_model.model.last.base_layer = innermost
    twin.base_model.model.last.base_layer = plain = nn.Linear(6, 6).requires_grad_(False)
    plain.weight.data, plain.bias.data = values
    return twin


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("cls", OURS.values(), ids=OURS)
def test_it_runs_and_trains_and_is_never_half_merged(cls, way, when):
    if when == "before":
        base = Stack()
        way(base.last)
        model = adapted(base, cls)
    else:
        model = adapted(Stack(), cls)
        way(model.base_model.model.last.get_base_layer())
        model.base_model.model.last.get_base_layer().requires_grad_(False)
    x = torch.randn(4, 6)
    model.train()
    out = model(x)  # a spectral norm goes on iterating: only then is the weight what this pass used
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert trained.keys() == {name for name, _ in model.named_parameters() if "lora_" in name}
    got = torch.autograd.grad(out.square().sum(), list(trained.values()))
    twin = plain_twin(model)
    expected = twin(x)
    theirs = dict(twin.named_parameters())
    wanted = torch.autograd.grad(expected.square().sum(), [theirs[name] for name in trained])
    assert largest_difference(out, expected) < 1e-6
    assert all(largest_difference(g, w) < 1e-4 for g, w in zip(got, wanted, strict=True))

    model.eval()
    before, expected = bits(model), model(x).detach()
    for merge in (model.merge_adapter, model.base_model.merge_and_unload):
        for safe in (True, False):
            with pytest.raises(ValueError, match=r"Layer 'last' has no parameter for its (weight|bias) .*remove_param"):
                merge(safe_merge=safe)
            assert same_bits(model, before) and model.get_model_status().merged_adapters == []
    assert torch.equal(model(x), expected)
    delta = model.base_model.model.last.get_delta_weight("default")
    assert largest_difference(delta, twin.base_model.model.last.get_delta_weight("default")) < 1e-5
    innermost, held = model.base_model.model.last.get_base_layer(), bits(model.base_model.model.last.get_base_layer())
    assert model.unload().last is innermost and same_bits(innermost, held)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("cls", OURS.values(), ids=OURS)
def test_a_weight_computed_since_the_merge_is_not_half_unmerged(cls, way):
    model, x = adapted(Stack(), cls).eval(), torch.randn(4, 6)
    model.merge_adapter()
    way(model.base_model.model.last.get_base_layer())
    before, expected = bits(model), model(x).detach()
    for unmerge in (model.unmerge_adapter, model.unload):
        with pytest.raises(ValueError, match=r"Layer 'last' has no parameter for"):
            unmerge()
        assert same_bits(model, before) and model.get_model_status().merged_adapters == ["default"]
    assert torch.equal(model(x), expected)


def test_what_lies_on_the_module_may_be_out_of_date():
    """The older hooks compute before a forward alone."""
    model = adapted(Stack()).eval()
    layer = model.base_model.model.last
    innermost = hooked_weight_norm(layer.get_base_layer())
    with torch.no_grad():
        innermost.weight_g *= 2
    read = layer.get_delta_weight("default")
    model(torch.randn(1, 6))
    assert torch.equal(layer.get_delta_weight("default"), read)


def test_it_is_said_what_is_computed_and_by_what():
    innermost = prune.l1_unstructured(parametrizations.weight_norm(nn.Linear(6, 6)), "bias", 0.3)
    assert how_computed(innermost) == "weight (_WeightNorm) and bias (L1Unstructured)"


def test_it_can_be_merged_once_the_weight_is_a_parameter():
    base = Stack()
    parametrizations.weight_norm(base.last)
    model, x = adapted(base).eval(), torch.randn(4, 6)
    expected = model(x)
    innermost = model.base_model.model.last.get_base_layer()
    parametrize.remove_parametrizations(innermost, "weight")
    with pytest.raises(ValueError, match=r"no parameter for its weight \(a tensor\)"):
        model.merge_adapter()
    innermost.weight = nn.Parameter(innermost.weight, requires_grad=False)
    model.merge_adapter(safe_merge=True)
    assert largest_difference(model(x), expected) < 1e-5


@pytest.mark.parametrize("name", ["Xd", "Xu"])
@pytest.mark.parametrize("how", ["pruned", "parametrised"])
def test_a_factor_of_the_adapter_may_be_computed(name: str, how: str) -> None:
    """The quick pass takes a path's tensors in their order, which pruning changes; x has tokens enough for it."""
    torch.manual_seed(0)
    settings = {"config_A": "none", "config_B": "lora", "config_C": "none", "config_D_E": "none"}
    config = GloraConfig(r=6, target_modules=["first"], init_weights=False, **settings)
    model = peft.get_peft_model(Stack(), config)
    layer, x = model.base_model.model.first, torch.randn(50, 6)
    path = layer.glora_B["default"]
    if how == "pruned":
        prune.l1_unstructured(path, name, 0.5)
    else:
        parametrize.register_parametrization(path, name, Doubled())
    out = layer(x)
    xd, xu = path()
    assert largest_difference(out, layer.base_layer(x) + x @ xu.T @ xd.T) < 1e-5
    out.sum().backward()
    raw = path.parametrizations[name].original if how == "parametrised" else getattr(path, f"{name}_orig")
    assert raw.grad.abs().max() > 0
