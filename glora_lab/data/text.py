"""Text as bytes, and the text that `bytes-llama` is adapted to: found in every Python, never downloaded.

A byte is a token: no tokenizer is needed, and any text can be written. The tasks change the notes on each opcode in
the standard library's pickletools and its essay on heaps, which are worded alike from Python 3.10 to 3.13 but for one
letter, and which are data and not docstrings, so that `python -OO` keeps them. `bytes-llama` was pretrained on other
text (`glora_lab.data.corpus`).

Decisions. Paragraphs, and not windows, are dealt out to the parts: no sentence begins in one and ends in another.
The notes repeat themselves, so a paragraph that shares 48 characters in a row with an earlier one is left out: what a
model is tested on it has not read in training.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from glora_lab.arguments import check_text, refuse

from .task import Part, Recipe

if TYPE_CHECKING:
    from jaxtyping import Int

#: The size of the vocabulary where a byte is a token.
BYTES = 256
WINDOW = 64  # bytes of an example
REPEATED = 48  # characters in a row that no two paragraphs share
WINDOWS = {"train": 128, "validation": 64, "test": 96}

TEXT_TASKS: Mapping[str, Recipe] = MappingProxyType(
    {
        "text-capitals": Recipe("text", "Text in capitals", "Notes on Python, IN CAPITALS.", str.upper),
        "text": Recipe(
            "text",
            "Ordinary text",
            "Notes on Python, written as those that bytes-llama learnt, though not the same: for comparison.",
            lambda text: text,
        ),
    }
)


def encode(text: str) -> Int[Tensor, " t"]:
    """The bytes of `text` in UTF-8, as token ids (t,) from 0 to 255.

    Raises:
        ValueError: for what is no text.
    """
    check_text("text", text)
    return torch.tensor(list(text.encode()), dtype=torch.long)


def decode(ids: Iterable[int]) -> str:
    """The text of the bytes `ids`, whole numbers from 0 to 255; what is no UTF-8 becomes �.

    Raises:
        ValueError: for an id that is no byte.
    """
    try:
        found = list(map(operator.index, ids))
        return bytes(found).decode(errors="replace")
    except (TypeError, ValueError) as error:
        raise refuse("ids", ids, f"must be numbers of bytes, integers from 0 to {BYTES - 1}") from error


def text_parts(recipe: Recipe, shuffle: np.random.RandomState) -> tuple[Part, Part, Part]:
    """Train, validation and test part: paragraphs dealt by `shuffle`, changed, and cut into windows (n, 64)."""
    found = paragraphs()
    dealt = (found[n] for n in shuffle.permutation(len(found)))
    parts = []
    for windows in WINDOWS.values():
        text = ""
        while len(text) < windows * WINDOW:
            text += recipe.change(next(dealt)) + "\n"
        ids = encode(text)[: windows * WINDOW].reshape(windows, WINDOW)
        parts.append(Part({"input_ids": ids, "labels": ids.clone()}))
    return parts[0], parts[1], parts[2]


def unwrapped(text: str) -> list[str]:
    """The text's paragraphs, each in one line, none twice."""
    return list(dict.fromkeys(" ".join(p.split()) for p in re.split(r"\n\s*\n", text) if p.strip()))


def without_repeats(texts: Iterable[str], length: int = REPEATED) -> list[str]:
    """The texts that share no `length` characters in a row with one before them."""
    seen: set[str] = set()
    kept = []
    for text in texts:
        pieces = {text[n : n + length] for n in range(len(text) - length + 1)}
        if seen.isdisjoint(pieces):
            seen |= pieces
            kept.append(text)
    return kept


@lru_cache(maxsize=1)
def paragraphs() -> list[str]:
    """What the tasks are made of: 20 kB, from the standard library."""
    import heapq
    import pickletools

    opcodes = pickletools.opcodes
    notes = [note for code in opcodes for note in (code.doc, code.arg.doc if code.arg else "")]
    return without_repeats(unwrapped("\n\n".join([*notes, heapq.__about__])))
