"""Layers below all that trains answer alike each time: they are asked once about every example, and kept from then on.

With adapters in the last two of six layers, two layers are left to run in a step. Decisions. An example is known by
its inputs and not by a number, so whoever calls the model, a metric as well, finds what is kept. The kept layers are
asked in evaluation mode, without dropout: they are frozen. They are asked in whatever batch an example comes in first,
and a sum over another number of rows is rounded otherwise: a run with kept layers equals the plain one to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from glora_lab.models.mode import eval_mode

if TYPE_CHECKING:
    from jaxtyping import Float

MOST_BYTES = 2**30  # of what is kept; examples beyond that are run each time
TOLERANCE = 1e-3  # of logits, beside their largest: what rounding of float32 stays far below


class FrozenPrefix:
    """The lowest layers of a model's stack, asked once about each example.

    `stack` is the name of the list of layers, "" where none is kept, and `layers` how many of it are. Whoever changes
    a frozen weight, or what trains, makes a new one.

    Args:
        model: its parameters that require a gradient are what trains.
        batch: a few examples, as the model's keyword arguments. One forward pass on them tells which layers come before
            everything that trains; another, whether the model answers alike with what is kept.

    Raises:
        ValueError: where it does not: its upper layers look at more than the layer below them.
    """

    def __init__(self, model: nn.Module, batch: Mapping[str, Any]) -> None:
        self._model, self._kept, self._bytes = model, dict[bytes, Tensor](), 0
        self._caught: Tensor | None = None
        self._serving: Float[Tensor, "n t h"] | None = None
        self._busy = False
        plain, self.stack, self.layers = _below_what_trains(model, batch)
        if self.layers:
            with self.used(), eval_mode(model), torch.no_grad():
                kept = model(**batch)
            self._check(plain, kept)
            self._kept.clear()
            self._bytes = 0

    def __len__(self) -> int:
        """The examples of which something is kept."""
        return len(self._kept)

    @contextmanager
    def used(self) -> Iterator[None]:
        """The model is called with what is kept inside, and is as it was afterwards."""
        if not self.layers:
            yield
            return
        blocks = list(self._model.get_submodule(self.stack))[: self.layers]  # type: ignore[call-overload]
        before = [vars(block).get("forward") for block in blocks]
        for place, block in enumerate(blocks):
            vars(block)["forward"] = self._instead_of(block.forward, last=place == self.layers - 1)
        hooks = (
            self._model.register_forward_pre_hook(self._look, with_kwargs=True),
            self._model.register_forward_hook(self._forget, always_call=True),
        )
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
            for block, forward in zip(blocks, before, strict=True):
                if forward is None:
                    del vars(block)["forward"]
                else:
                    vars(block)["forward"] = forward

    def _instead_of(self, forward: Callable[..., Any], *, last: bool) -> Callable[..., Any]:
        def answer(*args: Any, **kwargs: Any) -> Any:
            if self._serving is not None:
                return self._serving if last else _given(args, kwargs)
            answered = forward(*args, **kwargs)
            if last and self._busy:
                self._caught = answered.detach()
            return answered

        return answer

    def _look(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before the model runs: what is kept of each of these examples, asked for where it is not there yet."""
        inputs = {name: value for name, value in kwargs.items() if name != "labels" and value is not None}
        if self._busy or args or not all(isinstance(v, Tensor) and not v.requires_grad for v in inputs.values()):
            return
        lengths = _lengths(inputs)
        keys = _keys(inputs, lengths)
        if not all(key in self._kept for key in keys) and not self._keep(inputs, keys, lengths):
            return
        rows = [self._kept[key] for key in keys]
        mask = inputs.get("attention_mask")
        tokens = len(rows[0]) if mask is None else mask.shape[1]
        self._serving = rows[0].new_zeros(len(rows), tokens, rows[0].shape[-1])
        for row, kept in zip(self._serving, rows, strict=True):
            row[: len(kept)] = kept

    def _keep(self, inputs: dict[str, Tensor], keys: list[bytes], lengths: list[int | None]) -> bool:
        """Ask the lower layers about these examples; whether there is room for what they say."""
        if self._bytes > MOST_BYTES:
            return False
        self._busy = True
        try:
            with eval_mode(self._model), torch.no_grad():
                self._model(**inputs)
        finally:
            self._busy = False
        assert self._caught is not None
        for key, states, length in zip(keys, self._caught, lengths, strict=True):
            if key not in self._kept:
                self._kept[key] = states[:length].clone()
                self._bytes += self._kept[key].nbytes
        self._caught = None
        return True

    def _forget(self, *_: object) -> None:
        if not self._busy:
            self._serving = None

    def _check(self, plain: Any, kept: Any) -> None:
        a, b = (answer.logits.float() for answer in (plain, kept))
        if not (a - b).abs().max() <= TOLERANCE * a.abs().max():
            raise ValueError(
                f"the lower {self.layers} layers of {self.stack} cannot be kept: {type(self._model).__name__} answers "
                "otherwise with them, so what is above looks at more than the layer below it"
            )


def _given(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """What a layer of a stack is given to work on."""
    return args[0] if args else kwargs["hidden_states"]


def _below_what_trains(model: nn.Module, batch: Mapping[str, Any]) -> tuple[Any, str, int]:
    """The model's answer, the name of a list of layers, and how many of them come before all that trains.

    What trains makes everything after it ask for a gradient, so the first layer whose output does is looked for.
    """
    answers: dict[str, list[tuple[nn.Module, Any]]] = {}
    hooks = []
    lists = {name: one for name, one in model.named_modules() if isinstance(one, nn.ModuleList) and len(one) > 1}
    for name, layers in lists.items():
        answers[name] = []
        for layer in layers:
            hooks.append(layer.register_forward_hook(lambda m, _, out, into=answers[name]: into.append((m, out))))
    try:
        with eval_mode(model), torch.enable_grad():
            plain = model(**batch)
    finally:
        for hook in hooks:
            hook.remove()
    examples = len(next(iter(batch.values())))
    for name, layers in lists.items():
        if [id(one) for one, _ in answers[name]] != [id(layer) for layer in layers]:
            continue  # not one after the other, each once
        fixed = [isinstance(out, Tensor) and not out.requires_grad and len(out) == examples for _, out in answers[name]]
        count = [*fixed, False].index(False)
        if count:
            return plain, name, count
    return plain, "", 0


def _lengths(inputs: Mapping[str, Tensor]) -> list[int | None]:
    """Tokens of each example up to its padding; None where there is no mask."""
    mask = inputs.get("attention_mask")
    if mask is None or mask.ndim != 2:
        return [None] * len(next(iter(inputs.values())))
    places = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    return [int(length) for length in ((mask != 0) * places).amax(1).tolist()]


def _keys(inputs: Mapping[str, Tensor], lengths: list[int | None]) -> list[bytes]:
    """Each example by its inputs, whatever it is filled up with."""
    mask = inputs.get("attention_mask")
    digests = [blake2b(digest_size=16) for _ in lengths]
    for name, tensor in sorted(inputs.items()):
        of_tokens = mask is not None and tensor.shape[:2] == mask.shape[:2]
        numbers = tensor.detach().cpu().contiguous()
        for digest, row, length in zip(digests, numbers, lengths, strict=True):
            row = row[:length] if of_tokens else row
            digest.update(f"{name}{tuple(row.shape)}".encode() + row.reshape(-1).view(torch.uint8).numpy().tobytes())
    return [digest.digest() for digest in digests]
