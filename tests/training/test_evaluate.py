"""Asking a model: the right share, the right record, and nothing changed."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from glora_lab.data import Part
from glora_lab.training import evaluate, predict
from tests.training.reader import brightest, part, reader

LOGITS = torch.tensor([[2.0, 0.0], [0.0, math.log(3)], [1.0, 0.0]])


class Says(nn.Module):
    """Says the pixels of the first row; `unused` gives it a device."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(()))

    def forward(self, pixel_values: Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=pixel_values[:, 0, 0])


SPOKEN = Part({"pixel_values": LOGITS[:, None, None], "labels": torch.tensor([0, 1, 1])})


def test_accuracy_is_the_share_of_right_answers() -> None:
    assert evaluate(Says(), SPOKEN) == pytest.approx(2 / 3)


class Foretells(nn.Module):
    """Says of each byte that the next is one more."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(()))

    def forward(self, input_ids: Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=nn.functional.one_hot(input_ids + 1, 10).float())


def test_of_text_each_byte_after_the_first_is_an_answer() -> None:
    ids = torch.tensor([[1, 2, 3, 5], [8, 1, 2, 3]])
    assert evaluate(Foretells(), Part({"input_ids": ids, "labels": ids})) == 4 / 6
    assert evaluate(Foretells(), Part({"input_ids": ids, "labels": ids}), batch_size=1) == 4 / 6


def test_labels_of_minus_a_hundred_count_nowhere() -> None:
    ids = torch.tensor([[1, 2, 3, 5], [8, 1, 2, 3]])
    labels = torch.tensor([[1, 2, 3, -100], [-100, -100, 2, 3]])
    assert evaluate(Foretells(), Part({"input_ids": ids, "labels": labels})) == 1.0


def test_predictions_hold_images_labels_answers_and_confidence() -> None:
    predictions = predict(Says(), SPOKEN)
    np.testing.assert_array_equal(predictions.images, LOGITS[:, None])
    assert predictions.labels.tolist() == [0, 1, 1]
    assert predictions.predicted.tolist() == [0, 1, 0]
    np.testing.assert_allclose(predictions.confidence, [0.880797, 0.75, 0.731059], rtol=1e-5)
    assert predictions.accuracy == evaluate(Says(), SPOKEN)


def test_bare_images_have_no_label_and_no_right_answer() -> None:
    predictions = predict(Says(), SPOKEN.inputs["pixel_values"])
    assert predictions.labels.tolist() == [-1, -1, -1]
    assert predictions.accuracy == 0


def test_colour_images_are_shown_as_their_darkness_and_large_ones_small() -> None:
    white, black = torch.ones(1, 2, 80, 40), torch.zeros(1, 2, 80, 40)
    shown = predict(Says(), torch.cat([white, black])).images
    assert shown.shape == (2, 32, 32) and shown[0].max() == 0 and shown[1].min() == 1


def test_classes_have_names() -> None:
    called = predict(Says(), SPOKEN, classes=("no", "yes")).first(2)
    assert called.called(1) == "yes" and called.called(-1) == "-1" and len(called.labels) == 2


def test_a_vocabulary_is_asked_in_batches_that_fit_into_memory() -> None:
    model, sizes = Foretells(), []
    model.config = SimpleNamespace(vocab_size=2**24)
    model.register_forward_pre_hook(lambda _, __, given: sizes.append(len(given["input_ids"])), with_kwargs=True)
    ids = torch.tensor([[1, 2, 3, 5]] * 3)
    assert evaluate(model, Part({"input_ids": ids, "labels": ids})) == 2 / 3 and sizes == [1, 1, 1]


@given(batch_size=st.integers(1, 30))
def test_the_batch_size_changes_nothing(batch_size: int) -> None:
    model, asked = reader(), part(25, 0)
    whole, pieces = predict(model, asked), predict(model, asked, batch_size=batch_size)
    assert pieces.predicted.tolist() == whole.predicted.tolist()
    np.testing.assert_allclose(pieces.confidence, whole.confidence, rtol=1e-5)
    assert evaluate(model, asked, batch_size) == evaluate(model, asked)


def test_it_asks_in_eval_mode_and_gives_each_module_its_mode_back() -> None:
    model = reader(dropout=0.9)
    quiet = evaluate(model, brightest().test)
    model.train()
    model.norm.eval()
    assert evaluate(model, brightest().test) == quiet
    assert model.training and model.dropout.training and not model.norm.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_modes_come_back_after_an_error_too() -> None:
    model = reader().train()
    with pytest.raises(RuntimeError):
        predict(model, torch.zeros(2, 1, 5, 5))
    assert model.training and model.norm.training


def test_nothing_to_ask_is_refused() -> None:
    with pytest.raises(ValueError, match="no examples"):
        evaluate(reader(), part(0, 0))
    with pytest.raises(ValueError, match=r"`batch_size` \(=0\)"):
        predict(reader(), part(3, 0), batch_size=0)
