"""Asking a model that writes bytes to go on from a prompt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import torch
from torch import nn

from glora_lab.data import BYTES, decode, encode
from glora_lab.models.mode import eval_mode
from glora_lab.records import Writing

PROMPTS = ("The value ", "If the object is ", "THIS IS ")
PADDING = 0  # no text holds this byte, and it is hidden from the model


def write(
    model: nn.Module,
    prompts: str | Sequence[str] = PROMPTS,
    *,
    length: int = 64,
    temperature: float = 0.5,
    seed: int = 0,
) -> Writing:
    """What the model writes after each prompt, a byte at a time.

    Runs in eval mode without gradients and gives every module its mode back, and the caller's random state is kept.

    Args:
        model: a causal model over bytes, as `bytes-llama`, with an adapter or without.
        prompts: one or several; the draws of one depend on which others are asked with it.
        length: bytes to write. Where that cuts a character of several bytes in two, the text ends in �.
        temperature: what the logits are divided by before a byte is drawn; 0 takes the most likely one, with which
            so small a model soon repeats itself.
        seed: of the draws; the same seed writes the same.

    Raises:
        ValueError: for a model that does not write bytes, an empty prompt, none at all, or a number that cannot be.
    """
    asked = (prompts,) if isinstance(prompts, str) else tuple(prompts)
    if not asked or not all(isinstance(prompt, str) and prompt for prompt in asked):
        raise ValueError(f"`prompts` (={prompts!r}) must be one text or several, none of them empty")
    if isinstance(length, bool) or not isinstance(length, Integral) or length < 1:
        raise ValueError(f"`length` (={length!r}) must be a positive integer")
    if isinstance(temperature, bool) or not isinstance(temperature, Real) or not 0 <= temperature < math.inf:
        raise ValueError(f"`temperature` (={temperature!r}) must be a finite number, 0 or above")
    vocabulary = getattr(getattr(model, "config", None), "vocab_size", None)
    if vocabulary != BYTES or not hasattr(model, "generate"):
        raise ValueError(f"`model` must write bytes, with a vocabulary of {BYTES}; this one has {vocabulary}")
    encoded = [encode(prompt) for prompt in asked]
    longest = max(map(len, encoded))
    device = next(model.parameters()).device
    ids = torch.full((len(asked), longest), PADDING)  # (n, t), each prompt at the right end of its row
    for row, prompt in zip(ids, encoded, strict=True):
        row[longest - len(prompt) :] = prompt
    drawn: dict[str, Any] = {"temperature": float(temperature), "top_k": 0} if temperature else {}
    with eval_mode(model), torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(seed)
        written = model.generate(
            input_ids=ids.to(device),
            attention_mask=(ids != PADDING).long().to(device),
            max_new_tokens=int(length),
            do_sample=bool(temperature),
            **drawn,
            pad_token_id=PADDING,
            eos_token_id=None,
        )
    return Writing(asked, tuple(decode(row[longest:].tolist()) for row in written))
