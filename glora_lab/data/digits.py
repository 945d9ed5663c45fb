"""The digits that `digits-vit` is adapted to: real images, split once, never downloaded.

scikit-learn ships 1,797 handwritten digits (8×8 scans, ink from 0 to 16). They are split once and for all:
1,000 go to pretraining `digits-vit`, the other 797 to the downstream tasks, so that no task ever shows an
image that the model was pretrained on. Each task changes the picture (turned, inverted, …) and keeps the
label, which is what makes a frozen reader fail and an adapter worth training.

Decision: the pretraining split hangs on numpy's `RandomState`, whose stream is frozen for ever; with any
other shuffle a new library version could let pretraining images leak into the tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import torch

from glora_lab.extras import folder_of

from .task import Part, Recipe

if TYPE_CHECKING:
    from jaxtyping import Float, Int

PRETRAINING_IMAGES = 1000
TRAIN_IMAGES = 160
VALIDATION_IMAGES = 200
INK = 16.0  # the darkest value of a scan
#: How many digits there are to tell apart.
CLASSES = 10


DIGIT_TASKS: Mapping[str, Recipe] = MappingProxyType(
    {
        "digits-turned": Recipe(
            "images",
            "Turned digits",
            "Handwritten digits turned clockwise by 90 degrees.",
            lambda images: np.rot90(images, -1, axes=(1, 2)),
        ),
        "digits-inverted": Recipe(
            "images",
            "Inverted digits",
            "Handwritten digits with ink and paper swapped.",
            lambda images: 1 - images,
        ),
        "digits-mirrored": Recipe(
            "images",
            "Mirrored digits",
            "Handwritten digits as a mirror shows them, left and right swapped.",
            lambda images: images[:, :, ::-1],
        ),
        "digits-transposed-inverted": Recipe(
            "images",
            "Transposed and inverted digits",
            "Handwritten digits with rows and columns swapped, and ink and paper too.",
            lambda images: 1 - images.transpose(0, 2, 1),
        ),
        "digits": Recipe(
            "images",
            "Upright digits",
            "Handwritten digits as digits-vit learnt them, though not the same images: for comparison.",
            lambda images: images,
        ),
    }
)


def digit_parts(recipe: Recipe, shuffle: np.random.RandomState) -> tuple[Part, Part, Part]:
    """Train, validation and test part: the 797 downstream images dealt by `shuffle`, and changed."""
    _, downstream = _split()
    order = downstream[shuffle.permutation(len(downstream))]
    train, validation, test = np.split(order, (TRAIN_IMAGES, TRAIN_IMAGES + VALIDATION_IMAGES))
    return _part(train, recipe), _part(validation, recipe), _part(test, recipe)


def pretraining_part() -> Part:
    """The 1,000 upright images (1000, 1, 8, 8), 0 to 1, that `digits-vit` was pretrained on; no task holds any of them.

    Raises:
        ImportError: without scikit-learn, which the scans come from.
    """
    pretraining, _ = _split()
    return _part(pretraining, DIGIT_TASKS["digits"])


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
    """All scans (1797, 8, 8) float32 from 0 (paper) to 1 (ink), and their labels (1797,) int64.

    Read from scikit-learn's file: to import scikit-learn brings pandas and scipy.stats, and a second of waiting for the
    first picture.
    """
    file = folder_of("a task of digits", "sklearn") / "datasets" / "data" / "digits.csv.gz"
    scans = np.loadtxt(file, np.float32, delimiter=",")  # (n, 64 and the label)
    return scans[:, :-1].reshape(-1, 8, 8) / INK, scans[:, -1].astype(np.int64)
