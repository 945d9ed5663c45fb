"""Asking a model that writes to go on from a prompt: in bytes, or in the tokens of its own tokenizer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from glora_lab.arguments import A_MODEL, check_kind, check_seed, refuse
from glora_lab.data import BYTES, decode, encode
from glora_lab.ideas.training.record_writing import Writing
from glora_lab.models.mode import eval_mode

if TYPE_CHECKING:
    from jaxtyping import Int

#: What `write` asks a model to go on from, where nothing else is given.
PROMPTS = ("The value ", "If the object is ", "THIS IS ")
PADDING = 0  # before a prompt shorter than others, hidden from the model


def write(
    model: nn.Module,
    prompts: str | Sequence[str] = PROMPTS,
    *,
    length: int = 64,
    temperature: float = 0.5,
    seed: int = 0,
    tokenizer: Any = None,
) -> Writing:
    """What the model writes after each prompt, a byte at a time, or a token where it has a tokenizer.

    Runs in eval mode without gradients and gives every module its mode back, and the caller's random state is kept.

    Args:
        model: a causal model over bytes, as `bytes-llama`, with an adapter or without; or over the tokens of
            `tokenizer`.
        prompts: one or several; the draws of one depend on which others are asked with it.
        length: bytes or tokens to write. Where that cuts a character of several bytes in two, the text ends in �.
        temperature: what the logits are divided by before a byte is drawn; 0 takes the most likely one, with which
            so small a model soon repeats itself.
        seed: of the draws; the same seed writes the same.
        tokenizer: of `transformers`, where the model has one.

    Raises:
        ValueError: for a model that does not write, or not bytes, an empty prompt, none at all, or a number that cannot
            be.
    """
    asked = (prompts,) if isinstance(prompts, str) else tuple(prompts) if isinstance(prompts, Iterable) else ()
    if not asked or not all(isinstance(prompt, str) and prompt for prompt in asked):
        raise refuse("prompts", prompts, "must be one text or several, none of them empty")
    _check(model, length, temperature, seed, tokenizer)
    device = next(model.parameters()).device
    ids, mask = _in_rows([encode(p) if tokenizer is None else torch.tensor(tokenizer(p)["input_ids"]) for p in asked])
    drawn: dict[str, Any] = {"temperature": float(temperature), "top_k": 0} if temperature else {}
    own_stream = torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
    with eval_mode(model), torch.no_grad(), own_stream:
        torch.manual_seed(seed)
        written = model.generate(  # type: ignore[operator]
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            max_new_tokens=int(length),
            do_sample=bool(temperature),
            **drawn,
            pad_token_id=PADDING,
            eos_token_id=None,
        )
    end = ids.shape[1]
    if tokenizer is None:
        return Writing(asked, tuple(decode(row[end:].tolist()) for row in written))
    begun = [row[:end][kept != 0] for row, kept in zip(written, mask.to(device), strict=True)]
    whole = [tokenizer.decode(torch.cat([start, row[end:]])) for start, row in zip(begun, written, strict=True)]
    return Writing(asked, tuple(text[len(tokenizer.decode(start)) :] for start, text in zip(begun, whole, strict=True)))


def _in_rows(prompts: Sequence[Int[Tensor, " t"]]) -> tuple[Int[Tensor, "n t"], Int[Tensor, "n t"]]:
    """The prompts as one batch, each at the right end of its row, and a mask of 1 where a prompt is."""
    longest = max(map(len, prompts))
    ids, mask = torch.full((len(prompts), longest), PADDING), torch.zeros((len(prompts), longest), dtype=torch.long)
    for n, prompt in enumerate(prompts):
        ids[n, longest - len(prompt) :] = prompt
        mask[n, longest - len(prompt) :] = 1
    return ids, mask


def _check(model: nn.Module, length: int, temperature: float, seed: int, tokenizer: Any) -> None:
    check_kind("model", model, nn.Module, A_MODEL)
    if tokenizer is not None and not (callable(tokenizer) and hasattr(tokenizer, "decode")):
        raise refuse("tokenizer", tokenizer, "must be a tokenizer of transformers")
    if isinstance(length, bool) or not isinstance(length, Integral) or length < 1:
        raise ValueError(f"`length` (={length!r}) must be a positive integer")
    if isinstance(temperature, bool) or not isinstance(temperature, Real) or not 0 <= temperature < math.inf:
        raise ValueError(f"`temperature` (={temperature!r}) must be a finite number, 0 or above")
    check_seed(seed)
    vocabulary = getattr(getattr(model, "config", None), "vocab_size", None)
    if (tokenizer is None and vocabulary != BYTES) or not hasattr(model, "generate"):
        raise ValueError(
            f"`model` must write bytes, with a vocabulary of {BYTES}; this one has {vocabulary}, and no `tokenizer`"
        )
