"""The tasks that the small models are adapted to: real images, split once, never downloaded.

scikit-learn ships 1,797 handwritten digits (8×8 scans, ink from 0 to 16). They are split once and for all:
1,000 go to pretraining `digits-vit`, the other 797 to the downstream tasks, so that no task ever shows an
image that the model was pretrained on. Each task changes the picture (turned, inverted, …) and keeps the
label, which is what makes a frozen reader fail and an adapter worth training.

Decision: the pretraining split hangs on numpy's `RandomState`, whose stream is frozen for ever; with any
other shuffle a new library version could let pretraining images leak into the tests.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float, Int

PRETRAINING_IMAGES = 1000
TRAIN_IMAGES = 160
VALIDATION_IMAGES = 200
INK = 16.0  # the darkest value of a scan
CLASSES = 10


@dataclass(frozen=True, eq=False)
class Part:
    """One part of a task. `inputs` are the model's keyword arguments, one row per example (n, …).

    For images: `pixel_values` (n, 1, 8, 8) float32, 0 for paper and 1 for ink, and `labels` (n,) int64.
    """

    inputs: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    @property
    def labels(self) -> Int[Tensor, " n"]:
        return self.inputs["labels"]

    def rows(self, index: Tensor | slice) -> dict[str, Tensor]:
        """The examples at `index`, as a batch to call a model with."""
        return {name: tensor[index] for name, tensor in self.inputs.items()}

    def to(self, device: torch.device | str) -> Part:
        return Part({name: tensor.to(device) for name, tensor in self.inputs.items()})


@dataclass(frozen=True, eq=False)
class Task:
    """What a model is adapted to: three parts that share no image, and how many classes they tell apart."""

    name: str
    title: str
    description: str
    train: Part
    validation: Part
    test: Part
    num_classes: int


@dataclass(frozen=True)
class Recipe:
    """How a task is made: `change` maps upright images (n, 8, 8), values 0 to 1, to the task's."""

    title: str
    description: str
    change: Callable[[Float[np.ndarray, "n h w"]], Float[np.ndarray, "n h w"]]


TASKS: Mapping[str, Recipe] = MappingProxyType(
    {
        "digits-turned": Recipe(
            "Turned digits",
            "Handwritten digits turned clockwise by 90 degrees.",
            lambda images: np.rot90(images, -1, axes=(1, 2)),
        ),
        "digits-inverted": Recipe(
            "Inverted digits",
            "Handwritten digits with ink and paper swapped.",
            lambda images: 1 - images,
        ),
        "digits-mirrored": Recipe(
            "Mirrored digits",
            "Handwritten digits as a mirror shows them, left and right swapped.",
            lambda images: images[:, :, ::-1],
        ),
        "digits-transposed-inverted": Recipe(
            "Transposed and inverted digits",
            "Handwritten digits with rows and columns swapped, and ink and paper too.",
            lambda images: 1 - images.transpose(0, 2, 1),
        ),
        "digits": Recipe(
            "Upright digits",
            "Handwritten digits as digits-vit learnt them, though not the same images: for comparison.",
            lambda images: images,
        ),
    }
)


def load_task(name: str, *, seed: int = 0) -> Task:
    """The task `name` (a key of `TASKS`): 160 images to train on, 200 to validate, 437 to test.

    `seed` deals the 797 downstream images out to the three parts; every task deals the same seed alike, so
    the tasks can be compared image by image. Raises ValueError for an unknown name or a seed that is not an
    integer from 0 to 2**32 - 1.
    """
    if name not in TASKS:
        raise ValueError(f"`name` (={name!r}) must be a task: {', '.join(TASKS)}")
    recipe = TASKS[name]
    _, downstream = _split()
    order = downstream[_shuffle(seed).permutation(len(downstream))]
    cut = TRAIN_IMAGES + VALIDATION_IMAGES
    train, validation, test = np.split(order, (TRAIN_IMAGES, cut))
    return Task(
        name,
        recipe.title,
        recipe.description,
        _part(train, recipe),
        _part(validation, recipe),
        _part(test, recipe),
        num_classes=CLASSES,
    )


def pretraining_part() -> Part:
    """The 1,000 upright images that `digits-vit` was pretrained on; no task holds any of them."""
    pretraining, _ = _split()
    return _part(pretraining, TASKS["digits"])


def _shuffle(seed: int) -> np.random.RandomState:
    try:
        return np.random.RandomState(operator.index(seed))
    except (TypeError, ValueError) as error:
        raise ValueError(f"`seed` (={seed!r}) must be an integer from 0 to 2**32 - 1") from error


def _split() -> tuple[Int[np.ndarray, " p"], Int[np.ndarray, " d"]]:
    """Rows of the 1,797 scans for pretraining, and for everything downstream."""
    order = np.random.RandomState(0).permutation(len(_scans()[1]))
    return order[:PRETRAINING_IMAGES], order[PRETRAINING_IMAGES:]


def _part(rows: Int[np.ndarray, " n"], recipe: Recipe) -> Part:
    images, labels = _scans()
    changed = np.ascontiguousarray(recipe.change(images[rows]))
    return Part({"pixel_values": torch.from_numpy(changed)[:, None], "labels": torch.from_numpy(labels[rows])})


@lru_cache(maxsize=1)
def _scans() -> tuple[Float[np.ndarray, "n 8 8"], Int[np.ndarray, " n"]]:
    """All scans (1797, 8, 8) float32 from 0 (paper) to 1 (ink), and their labels (1797,) int64."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError("the digits come with scikit-learn: pip install scikit-learn") from error
    digits = load_digits()
    return (digits.images / INK).astype(np.float32), digits.target.astype(np.int64)
