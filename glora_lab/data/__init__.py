"""What models are adapted to. Tasks for the shipped ones and for minilm: images and text, never downloaded; and, by
`task_from`, tasks of a reader's own data.

Each task for a shipped model changes what it was pretrained to read (turned, inverted, IN CAPITALS), which is what
makes a frozen model fail and an adapter worth training. None of them shows what the model was pretrained on.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np

from glora_lab.arguments import check_key, refuse

from .digits import CLASSES, DIGIT_TASKS, digit_parts, pretraining_part
from .docstrings import DOCSTRING_TASKS, docstring_task
from .fits import check_fits
from .own import task_from
from .task import Kind, Part, Recipe, Task
from .text import BYTES, TEXT_TASKS, decode, encode, text_parts

#: Name → how the task is made, for `load_task`.
TASKS: Mapping[str, Recipe] = MappingProxyType({**DIGIT_TASKS, **TEXT_TASKS, **DOCSTRING_TASKS})

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


def load_task(name: str, *, seed: int = 0, tokenizer: Any = None) -> Task:
    """The task `name`, a key of `TASKS`.

    Of digits: 160 images to train on, 200 to validate, 437 to test. Of text: 128, 64 and 96 windows of 64 bytes. Of
    docstrings: 2,000, 1,000 and 1,000 sentences, see `glora_lab.data.docstrings`.

    Args:
        seed: deals the examples out to the three parts; all tasks of a kind deal the same seed alike, so they can be
            compared example by example.
        tokenizer: for the tasks of docstrings, as `transformers` has them: minilm's by default, which is read once.

    Raises:
        ValueError: for an unknown name, a seed that is not an integer from 0 to 2**32 - 1, or a tokenizer for a task
            that needs none.
        ImportError: where the package is missing that the task or its tokenizer comes from.
    """
    check_key("name", name, TASKS, "must be a task")
    shuffle = _shuffle(seed)
    if name in DOCSTRING_TASKS:
        return docstring_task(name, shuffle, tokenizer) if tokenizer is not None else _with_minilms(name, int(seed))
    if tokenizer is not None:
        raise refuse("tokenizer", type(tokenizer).__name__, f"must be left out: {name} has no words to look up")
    recipe = TASKS[name]
    make, num_classes = (digit_parts, CLASSES) if recipe.kind == "images" else (text_parts, BYTES)
    train, validation, test = make(recipe, shuffle)
    return Task(name, recipe.title, recipe.description, train, validation, test, num_classes=num_classes)


@lru_cache(maxsize=4)
def _with_minilms(name: str, seed: int) -> Task:
    """Read once: a task is frozen, and its tensors are nobody's to change."""
    return docstring_task(name, _shuffle(seed), None)


def _shuffle(seed: int) -> np.random.RandomState:
    """numpy's `RandomState`, whose stream is frozen for ever: no new version of it deals the examples anew."""
    try:
        return np.random.RandomState(operator.index(seed))
    except (TypeError, ValueError) as error:
        raise ValueError(f"`seed` (={seed!r}) must be an integer from 0 to 2**32 - 1") from error
