"""path_activity reads sizes and gradients off the layers themselves."""

import math

import pytest
import torch
from peft import get_peft_model
from torch import nn

from glora_lab.adapters import GloraConfig
from glora_lab.measure import path_activity, path_picture


def two_layers(**settings):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4))
    return get_peft_model(model, GloraConfig(target_modules=["0", "1"], **settings))


def test_norms_are_those_of_the_terms_over_all_layers():
    model = two_layers(r=2, config_D="none", config_E="vector", init_weights=False)
    pictures = [path_picture(model, layer) for layer in ("0", "1")]
    norms = path_activity(model).norms
    assert list(norms) == ["A", "B", "C", "E"]
    for path, term in {"A": "w0a", "B": "b", "C": "w0c", "E": "e"}.items():
        squares = sum((getattr(picture, term) ** 2).sum() for picture in pictures)
        assert norms[path] == pytest.approx(math.sqrt(squares), rel=1e-5)


def test_shares_are_of_the_squared_gradient_and_sum_to_one():
    model = two_layers(config_A_B="vector", config_C="none", config_D_E="vector")
    assert set(path_activity(model).shares.values()) == {0.0}  # no gradient yet
    model(torch.randn(7, 6)).square().sum().backward()
    shares = path_activity(model, 3).shares
    assert sum(shares.values()) == pytest.approx(1)
    e = sum(p.grad.square().sum().item() for name, p in model.named_parameters() if "glora_E" in name)
    every = sum(p.grad.square().sum().item() for p in model.parameters() if p.grad is not None)
    assert shares["E"] == pytest.approx(e / every, rel=1e-5)


def test_a_model_without_an_adapter_is_refused():
    with pytest.raises(ValueError, match="`model` carries no adapter of this library"):
        path_activity(nn.Linear(2, 2))
