"""One layer under two names carries one adapter under both: what is merged, counted and saved is there once."""

from __future__ import annotations

import copy
import warnings

import peft
import pytest
import torch
from torch import nn

from glora_lab.adapters import GloraConfig, GloraModel, GraloraConfig, GraloraModel
from glora_lab.adapters.tuner.layer import LabLayer
from glora_lab.measure import path_budget

CONFIGS = {
    "GLoRA": lambda **more: GloraConfig(r=4, target_modules=["a"], init_weights=False, **more),
    "GraLoRA": lambda **more: GraloraConfig(r=4, target_modules=["a"], init_weights=False, **more),
}
X = torch.randn(5, 16, generator=torch.Generator().manual_seed(1))
each = pytest.mark.parametrize("kind", CONFIGS)


class Inner(nn.Module):
    """The layer deeper in the model than its other name is, and so named by this one."""

    def __init__(self, a: nn.Module) -> None:
        super().__init__()
        self.a = a


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.Linear(16, 16)
        self.inner, self.b, self.out = Inner(layer), layer, nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.b(torch.relu(self.inner.a(x))))


def base() -> Tied:
    torch.manual_seed(0)
    return Tied().eval()


def adapted(kind: str) -> peft.PeftModel:
    torch.manual_seed(2)
    return peft.get_peft_model(base(), CONFIGS[kind]()).eval()


def output(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(X)


@each
def test_both_names_are_of_one_adapted_layer(kind):
    model = adapted(kind)
    inner = model.get_base_model()
    assert isinstance(inner.b, LabLayer) and inner.inner.a is inner.b
    weight, bias = inner.b.added(["default"], torch.float32)
    plain = base()
    with torch.no_grad():
        plain.b.weight += weight
        if bias is not None:
            plain.b.bias += bias
    assert torch.allclose(output(model), output(plain), atol=1e-5)
    assert not torch.allclose(output(model), output(base()), atol=1e-2)


@each
@pytest.mark.parametrize("safe", [False, True])
def test_merging_happens_once_and_unmerging_brings_the_bits_back(kind, safe):
    model = adapted(kind)
    before, expected = copy.deepcopy(model.get_base_model().b.get_base_layer().state_dict()), output(model)
    model.merge_adapter(safe_merge=safe)
    assert (output(model) - expected).abs().max() < 1e-5
    model.unmerge_adapter()
    after = model.get_base_model().b.get_base_layer().state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before) and torch.equal(output(model), expected)


@each
def test_taken_off_it_is_one_layer_under_two_names_again(kind):
    model = adapted(kind)
    expected = output(model)
    plain = model.merge_and_unload()
    assert (output(plain) - expected).abs().max() < 1e-5
    assert type(plain.b) is nn.Linear and plain.inner.a is plain.b
    unloaded = adapted(kind).unload()
    assert type(unloaded.b) is nn.Linear and unloaded.inner.a is unloaded.b
    assert torch.equal(output(unloaded), output(base()))


@each
def test_it_is_counted_once(kind):
    model = adapted(kind)
    once = peft.get_peft_model(nn.ModuleDict({"a": nn.Linear(16, 16)}), CONFIGS[kind]())
    assert path_budget(model).total == path_budget(once).total == model.get_nb_trainable_parameters()[0]


@each
def test_what_is_saved_loads_again(kind, tmp_path):
    model = adapted(kind)
    model.save_pretrained(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = peft.PeftModel.from_pretrained(base(), tmp_path)
        loaded.load_adapter(tmp_path, "second")
    assert torch.equal(output(loaded), output(model))
    assert loaded.get_base_model().inner.a is loaded.get_base_model().b


@each
def test_an_injection_that_fails_leaves_both_names_as_they_were(kind, monkeypatch):
    def fails(self: object, adapter_name: str) -> None:
        raise RuntimeError("late")

    monkeypatch.setattr(GloraModel if kind == "GLoRA" else GraloraModel, "report", fails)
    model = base()
    layer = model.b
    with pytest.raises(RuntimeError, match="late"):
        peft.get_peft_model(model, CONFIGS[kind]())
    assert model.b is layer and model.inner.a is layer and output(model).equal(output(base()))
