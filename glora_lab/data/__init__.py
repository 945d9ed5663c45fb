"""What models are adapted to. Tasks for the shipped ones: images and text, split once, never downloaded; and, by
`task_from`, tasks of a reader's own data.

Each shipped task changes what the model was pretrained to read (turned, inverted, IN CAPITALS), which is what makes a
frozen model fail and an adapter worth training. None of them shows what the model was pretrained on.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from .digits import CLASSES, DIGIT_TASKS, digit_parts, pretraining_part
from .fits import check_fits
from .own import task_from
from .task import Kind, Part, Recipe, Task
from .text import BYTES, TEXT_TASKS, decode, encode, text_parts

TASKS: Mapping[str, Recipe] = MappingProxyType({**DIGIT_TASKS, **TEXT_TASKS})

__all__ = [
    "BYTES",
    "CLASSES",
    "TASKS",
    "Kind",
    "Part",
    "Recipe",
    "Task",
    "check_fits",
    "decode",
    "encode",
    "load_task",
    "pretraining_part",
    "task_from",
]


def load_task(name: str, *, seed: int = 0) -> Task:
    """The task `name`, a key of `TASKS`.

    Of digits: 160 images to train on, 200 to validate, 437 to test. Of text: 128, 64 and 96 windows of 64 bytes.
    `seed` deals the examples out to the three parts; all tasks of a kind deal the same seed alike, so they can be
    compared example by example. Raises ValueError for an unknown name or a seed that is not an integer from 0 to
    2**32 - 1.
    """
    if name not in TASKS:
        raise ValueError(f"`name` (={name!r}) must be a task: {', '.join(TASKS)}")
    recipe = TASKS[name]
    make, num_classes = (digit_parts, CLASSES) if recipe.kind == "images" else (text_parts, BYTES)
    train, validation, test = make(recipe, _shuffle(seed))
    return Task(name, recipe.title, recipe.description, train, validation, test, num_classes=num_classes)


def _shuffle(seed: int) -> np.random.RandomState:
    """numpy's `RandomState`, whose stream is frozen for ever: no new version of it deals the examples anew."""
    try:
        return np.random.RandomState(operator.index(seed))
    except (TypeError, ValueError) as error:
        raise ValueError(f"`seed` (={seed!r}) must be an integer from 0 to 2**32 - 1") from error
