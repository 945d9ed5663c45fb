"""outlier_layer: everything from the seed, the residual blind to the outlier; amplified: a real layer's own outlier."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from glora_lab.models import OUTLIER_LAYER, amplified, outlier_layer


def test_the_channel_is_multiplied_and_nothing_else_changes() -> None:
    (model, (x, y)), (plain, (calm, near)) = (outlier_layer(size=8, channel=3, magnitude=m) for m in (50, 1))
    torch.testing.assert_close(model.state_dict(), plain.state_dict(), rtol=0, atol=0)
    others = [i for i in range(8) if i != 3]
    assert torch.equal(x[:, 3], 50 * calm[:, 3]) and torch.equal(x[:, others], calm[:, others])
    elsewhere = outlier_layer(size=8, channel=4, magnitude=50)[1][0]
    assert torch.equal(elsewhere[:, 3], calm[:, 3])
    torch.testing.assert_close(y - model(x), near - plain(calm), rtol=0, atol=1e-4)  # the residual is noise alone


def test_shapes_and_sizes() -> None:
    model, (x, y) = outlier_layer(size=(6, 10), channel=9, magnitude=1, tokens=4000)
    layer = model.get_submodule(OUTLIER_LAYER)
    assert isinstance(layer, nn.Linear) and layer.weight.shape == (6, 10)
    assert x.shape == (4000, 10) and y.shape == (4000, 6)
    assert (y - model(x)).std().item() == pytest.approx(1, rel=0.03) == x.std().item()


def test_the_seed_is_the_layers_own() -> None:
    state = torch.get_rng_state()
    first = outlier_layer(size=5, channel=0, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    again, other = outlier_layer(size=5, channel=0, seed=1), outlier_layer(size=5, channel=0, seed=2)
    assert torch.equal(first[1][1], again[1][1]) and torch.equal(first[0].synthetic.weight, again[0].synthetic.weight)
    assert not torch.equal(first[1][0], other[1][0])


def test_a_change_is_asked_for_on_top_of_the_noise() -> None:
    settings = {"size": 64, "magnitude": 1, "tokens": 500, "channel": 0}
    _, (x, noisy) = outlier_layer(**settings)
    asked = outlier_layer(**settings, change=3)[1][1] - noisy
    assert asked.std().item() == pytest.approx(3, rel=0.05)
    solved = torch.linalg.lstsq(x, asked).solution
    torch.testing.assert_close(x @ solved, asked, rtol=0, atol=1e-3)  # it is linear in x
    assert torch.equal(outlier_layer(**settings, change=0)[1][1], noisy)


def test_amplified_is_the_layer_with_that_input_multiplied_and_ends() -> None:
    layer, x = nn.Linear(4, 3), torch.randn(2, 5, 4)
    times = x * torch.tensor([1.0, 1.0, 20.0, 1.0])
    with pytest.raises(KeyError), amplified(layer, 2, 20):
        torch.testing.assert_close(layer(x), nn.functional.linear(times, layer.weight, layer.bias))
        raise KeyError
    torch.testing.assert_close(layer(x), nn.functional.linear(x, layer.weight, layer.bias))
    assert not layer._forward_pre_hooks


@pytest.mark.parametrize(
    ("message", "change"),
    [
        (r"`channel` \(=8\) must be an integer from 0 to 7", {"channel": 8}),
        (r"`channel` \(=-1\) must be", {"channel": -1}),
        (r"`channel` \(=True\) must be", {"channel": True}),
        (r"`magnitude` \(=-2\) must be a number", {"magnitude": -2}),
        (r"`magnitude` \(=nan\) must be a number", {"magnitude": float("nan")}),
        (r"`size` \(=\(8, 0\)\) must be positive integers", {"size": (8, 0)}),
        (r"`size` \(=\(8, 8, 8\)\) must be positive integers", {"size": (8, 8, 8)}),
        (r"`tokens` \(=0\) must be positive", {"tokens": 0}),
    ],
)
def test_what_cannot_be_is_said(message: str, change: dict) -> None:
    with pytest.raises(ValueError, match=message):
        outlier_layer(**{"size": 8, "channel": 1, **change})
