"""The digits: what the tasks show, that no image is shared, and that a seed deals them alike."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from glora_lab.data import TASKS, Part, digits, load_task, pretraining_part
from glora_lab.data.digits import DIGIT_TASKS

SMALL = np.array([[[0.0, 0.25], [0.5, 1.0]]], dtype=np.float32)
CHANGED = {
    "digits-turned": [[0.5, 0.0], [1.0, 0.25]],
    "digits-inverted": [[1.0, 0.75], [0.5, 0.0]],
    "digits-mirrored": [[0.25, 0.0], [1.0, 0.5]],
    "digits-transposed-inverted": [[1.0, 0.5], [0.75, 0.0]],
    "digits": [[0.0, 0.25], [0.5, 1.0]],
}


def image_bytes(part: Part) -> set[bytes]:
    return {image.numpy().tobytes() for image in part.inputs["pixel_values"]}


@pytest.mark.parametrize("name", DIGIT_TASKS)
def test_a_task_changes_the_picture_as_it_says(name: str) -> None:
    np.testing.assert_array_equal(TASKS[name].change(SMALL), [CHANGED[name]])


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", DIGIT_TASKS)
def test_no_image_is_in_two_parts_nor_was_pretrained_on(name: str, seed: int) -> None:
    task = load_task(name, seed=seed)
    pretrained = pretraining_part()
    seen = pretrained.inputs["pixel_values"][:, 0].numpy()
    parts = [image_bytes(part) for part in (task.train, task.validation, task.test)]
    parts.append({np.ascontiguousarray(image).tobytes() for image in TASKS[name].change(seen)})
    # sets as large as their parts and as their union: no image twice within a part, and none in two
    assert [len(part) for part in parts] == [160, 200, 437, 1000]
    assert len(set().union(*parts)) == 1797
    if name != "digits":
        assert image_bytes(pretrained).isdisjoint(set().union(*parts[:3]))


@pytest.mark.parametrize("name", DIGIT_TASKS)
def test_a_part_is_what_the_model_takes(name: str) -> None:
    task = load_task(name)
    for part in (task.train, task.validation, task.test):
        pixels = part.inputs["pixel_values"]
        assert pixels.shape == (len(part), 1, 8, 8)
        assert pixels.dtype == torch.float32 and pixels.is_contiguous()
        assert (pixels.min(), pixels.max()) == (0, 1)
        assert part.labels.shape == (len(part),) and part.labels.dtype == torch.int64
        assert set(part.labels.tolist()) == set(range(task.num_classes))
    assert task.kind == "images"


def test_a_seed_deals_every_task_alike() -> None:
    upright, turned, again = load_task("digits"), load_task("digits-turned"), load_task("digits-turned")
    assert torch.equal(turned.test.inputs["pixel_values"], again.test.inputs["pixel_values"])
    assert torch.equal(upright.train.labels, turned.train.labels)
    turned_back = turned.train.inputs["pixel_values"].rot90(1, (2, 3))
    assert torch.equal(turned_back, upright.train.inputs["pixel_values"])
    assert image_bytes(load_task("digits", seed=1).test) != image_bytes(upright.test)


def test_an_unknown_task_is_named_with_the_choices() -> None:
    with pytest.raises(ValueError, match=r"`name` \(='digits-tuned'\).*digits-turned.*digits-inverted"):
        load_task("digits-tuned")


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, "0", None])
def test_a_seed_that_numpy_refuses_is_named(seed: object) -> None:
    with pytest.raises(ValueError, match=r"`seed` \(=.*\) must be an integer"):
        load_task("digits", seed=seed)


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    digits._scans.cache_clear()
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r'needs scikit-learn.*pip install "glora-lab\[notebooks\]"'):
        load_task("digits")


def test_the_scans_are_what_scikit_learn_gives() -> None:
    images, labels = digits._scans()
    given = load_digits()
    np.testing.assert_array_equal(images, given.images / 16)
    np.testing.assert_array_equal(labels, given.target)
    assert images.dtype == np.float32 and labels.dtype == np.int64


def test_rows_of_a_part_are_a_batch() -> None:
    part = Part({"pixel_values": torch.arange(3.0)[:, None], "labels": torch.tensor([5, 6, 7])})
    assert len(part) == 3
    batch = part.rows(torch.tensor([2, 0]))
    assert batch["pixel_values"].tolist() == [[2.0], [0.0]] and batch["labels"].tolist() == [7, 5]
    assert part.to("meta").labels.device.type == "meta"


def test_one_of_each_label_is_the_first_that_there_is() -> None:
    test = load_task("digits-turned").test
    eight = test.one_of_each(8)
    assert eight.labels.tolist() == list(range(8)) and len(test.one_of_each(99)) == 10
    for row, label in enumerate(range(8)):
        first = test.labels.tolist().index(label)
        assert torch.equal(eight.inputs["pixel_values"][row], test.inputs["pixel_values"][first])
