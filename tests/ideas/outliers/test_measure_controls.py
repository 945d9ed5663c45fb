"""Controls on literal tokens: each column as large as it is said to be, and a layer that computes what it did."""

from __future__ import annotations

import pytest
import torch

from glora_lab.ideas.outliers.measure_controls import CONTROLS, controlled
from glora_lab.ideas.outliers.measure_tokens import LayerTokens, layer_tokens
from glora_lab.models import outlier_layer

# G = gᵀ x has columns of norm 1, 2, 4, 60 and 0, of which the median is 3
TOKENS = LayerTokens(torch.tensor([[1.0, 2.0, 4.0, 60.0, 0.0]]), torch.tensor([[0.6, 0.8]]))


def sizes(control: str) -> list[float]:
    return controlled(TOKENS, control).norm(dim=0).tolist()


def test_each_control_makes_the_columns_that_it_says() -> None:
    assert sizes("as it is") == pytest.approx([1, 2, 4, 60, 0])
    assert sizes("calmed") == pytest.approx([1, 2, 4, 3, 0])
    assert sizes("one ×100") == pytest.approx([1, 2, 4, 300, 0])
    assert sizes("even, one ×100") == pytest.approx([3, 3, 3, 300, 0])
    assert sizes("shuffled") == pytest.approx([1, 2, 4, 60, 0])  # there is one token
    assert all(controlled(TOKENS, control).dtype == torch.float64 for control in CONTROLS)


def test_a_shuffle_deals_the_inputs_out_anew_and_a_seed_again() -> None:
    x, g = torch.eye(5), torch.arange(1.0, 6.0)[:, None]
    found = [controlled(LayerTokens(x, g), "shuffled", seed=seed).flatten() for seed in (0, 0, 1)]
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
    assert all(sorted(row.tolist()) == [1, 2, 3, 4, 5] for row in found)


def test_a_controls_gradient_is_that_of_a_layer_that_computes_the_same() -> None:
    """Inputs f times as large and weights f times smaller: column i of G is f times as large."""
    model, (x, targets) = outlier_layer(size=(6, 8), channel=2, magnitude=40, tokens=9)
    tokens = layer_tokens(model, (x, targets))["synthetic"]
    factors = torch.ones(8).index_fill(0, torch.tensor(2), 1 / 40)
    with torch.no_grad():
        model.synthetic.weight /= factors
    other = layer_tokens(model, (x * factors, targets))["synthetic"]
    assert torch.allclose(other.gradient, tokens.gradient * factors, atol=1e-6)
    assert torch.allclose(other.g, tokens.g, atol=1e-6)


def test_no_gradient_stays_none_and_another_control_is_refused() -> None:
    nothing = LayerTokens(torch.ones(3, 4), torch.zeros(3, 2))
    assert not any(controlled(nothing, control).any() for control in CONTROLS)
    with pytest.raises(ValueError, match=r"`control` \(='wild'\) must be one of 'as it is'"):
        controlled(TOKENS, "wild")


def test_tokens_of_chosen_layers_alone_and_of_none_that_is_there() -> None:
    model, batch = outlier_layer(size=(6, 8), tokens=9, channel=1)
    assert list(layer_tokens(model, batch, ["synthetic"])) == ["synthetic"]
    with pytest.raises(ValueError, match=r"must have a linear layer of other that the batch goes through"):
        layer_tokens(model, batch, ["other"])
