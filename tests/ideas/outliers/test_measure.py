"""Outliers found: those that were put there, against sums written out, and without those that padding has."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from glora_lab.data import load_task
from glora_lab.measure import outliers
from glora_lab.models import amplified, load_model, outlier_layer

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}


def bert() -> BertForSequenceClassification:
    torch.manual_seed(0)
    return BertForSequenceClassification(BertConfig(vocab_size=30, num_labels=3, **SIZES)).eval()


def batch(tokens: int = 6) -> dict[str, torch.Tensor]:
    """Three texts of four tokens; what is beyond them is padding."""
    draws = torch.Generator().manual_seed(0)
    ids = torch.randint(1, 30, (3, 4), generator=draws)
    padded = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    filled = {name: nn.functional.pad(tensor, (0, tokens - 4)) for name, tensor in padded.items()}
    return {**filled, "labels": torch.tensor([0, 1, 2])}


def test_a_made_outlier_is_found_where_it_is_and_as_large_as_it_is() -> None:
    model, (x, targets) = outlier_layer(size=(12, 20), channel=7, magnitude=50, tokens=40)
    (row,) = outliers(model, (x, targets)).rows
    sizes = x.square().mean(0).sqrt().double()
    error = (model(x) - targets).detach().double() * 2 / targets.numel()
    gradient = error.T @ x.double()  # (out, in)
    columns, values = gradient.norm(dim=0), torch.linalg.svdvals(gradient)
    assert (row.layer, row.channel, row.gradient_channel, row.same) == ("synthetic", 7, 7, True)
    assert row.size == pytest.approx((sizes[7] / sizes.quantile(0.5)).item(), rel=1e-5) and row.size > 30
    assert row.gradient_size == pytest.approx((columns[7] / columns.quantile(0.5)).item(), rel=1e-5)
    assert row.stable_rank == pytest.approx((values.square().sum() / values[0] ** 2).item(), rel=1e-5)


def test_every_linear_layer_in_the_batchs_way_has_a_row_and_nothing_is_touched() -> None:
    model = bert().train()
    found = outliers(model, batch())
    assert [row.layer for row in found.rows] == [n for n, m in model.named_modules() if isinstance(m, nn.Linear)]
    assert found.rows[0].cell() == ("bert.encoder.layer.0", "attention.self.query")
    assert found.rows[-1].cell() == ("", "classifier") and found.tokens == 12
    assert model.training and all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())
    assert found == outliers(model, batch())
    inputs, gradients = found.strongest()
    assert inputs.size == max(row.size for row in found.rows)
    assert gradients.gradient_size == max(row.gradient_size for row in found.rows)


def test_padding_counts_for_nothing() -> None:
    model = bert()
    for row, padded in zip(outliers(model, batch(4)).rows, outliers(model, batch(9)).rows, strict=True):
        assert (row.layer, row.channel, row.gradient_channel) == (padded.layer, padded.channel, padded.gradient_channel)
        assert (row.size, row.gradient_size) == pytest.approx((padded.size, padded.gradient_size), rel=1e-3)


def test_an_outlier_made_in_a_real_layer_shows_there_and_not_before() -> None:
    model, rows = load_model("digits-vit"), load_task("digits-turned").train.rows(slice(0, 16))
    names = [row.layer for row in outliers(model, rows).rows if row.layer.endswith("fc1")]
    before = {row.layer: row for row in outliers(model, rows).rows}
    with amplified(model.get_submodule(names[1]), 5, 100.0):
        after = {row.layer: row for row in outliers(model, rows).rows}
    assert after[names[1]].channel == after[names[1]].gradient_channel == 5 and after[names[1]].size > 20
    assert after[names[0]].size == before[names[0]].size


def test_a_layer_that_the_loss_does_not_hear_of_has_no_gradient() -> None:
    class Deaf(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.heard, self.unheard, self.uncalled = nn.Linear(3, 2), nn.Linear(3, 2), nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.unheard(x)
            return self.heard(x)

    heard, unheard = outliers(Deaf(), (torch.randn(5, 3), torch.randn(5, 2))).rows
    assert heard.gradient_channel >= 0 and heard.stable_rank >= 1
    assert (unheard.gradient_channel, unheard.gradient_size, unheard.stable_rank) == (-1, 0.0, 0.0)
    assert unheard.channel == heard.channel and not unheard.same


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="carries an adapter already"):
        outliers(get_peft_model(bert(), LoraConfig(target_modules=["query"])), batch())
    with pytest.raises(ValueError, match="must have a linear layer"):
        outliers(nn.Tanh(), (torch.randn(2, 3, requires_grad=True), torch.randn(2, 3)))
    with pytest.raises(ValueError, match="gives the model no loss"):
        outliers(bert(), {name: tensor for name, tensor in batch().items() if name != "labels"})


def test_minilm_has_outliers_that_nobody_made() -> None:
    task = load_task("docstrings")
    found = outliers(load_model("minilm", num_labels=task.num_classes), task.train.rows(slice(0, 8)))
    rows = {row.layer.removeprefix("bert.encoder."): row for row in found.rows}
    inputs, gradients = found.strongest()
    assert inputs.size > 10 and gradients.gradient_size > 10
    assert sum(row.gradient_size > 5 for row in found.rows) >= 18
    assert rows["layer.5.output.dense"].stable_rank < 4
