"""A few tokens without a gradient, as in generation: what does not depend on them is computed once, and kept.

That is the bias with W0·C in it, which alone costs as much as the token's own product with W0, and A's scale. Where
A is off, C joins x and the rest takes no longer than the comparisons, so that nothing is kept in full precision. What
was kept is used while nothing that it was made of has changed. All of that but W0 is small, and compared with what it
was, value by value: it does not matter who has written it, or how.

W0 is too large for that. It counts as unchanged while it is the same parameter in the same memory, autograd has
counted no write to it, and a sample that meets every row and every column has the values it had. So everything is seen
that torch writes to W0, to a view of it or to `detach()`, whatever replaces it (`.data =`, a load, a move), and of the
writes that nobody counts (into `.data`, a NumPy view, shared memory) each that reaches a whole row or column. One
into single entries beside the sample is seen at the next pass of many tokens, as the prompt's is, or with gradients:
such a pass uses nothing that was kept, and lets go of it. A smaller W0 is multiplied anew each time.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple, cast
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from transformers.pytorch_utils import Conv1D

from glora_lab.adapters.base.frozen import FrozenBase
from glora_lab.adapters.base.ordinary_mode import ordinary_mode
from glora_lab.adapters.tuner.terms import add

from .formula import bias_terms
from .path_modules import LowRankPath, Paths, SinglePath
from .scaled_weight import LOW

FEW = {True: 2, False: 4}  # tokens, in low precision and not; beside more, what is kept does not count
SMALL = 2**16  # values of W0; with fewer, all of it takes no longer than the comparisons


class Weight(NamedTuple):
    """What tells that W0 is as it was; W0 itself may be freed meanwhile."""

    identity: int
    version: int
    storage: StorageWeakRef  # while it is held, no other storage has this one's identity
    address: int
    sample: Tensor


class Kept(NamedTuple):
    """y = (W0·x + b0)⊙scale + added, and what the two were made of."""

    added: Tensor
    scale: Tensor | None
    scaling: float
    parts: list[Tensor]
    weight: Weight | None  # where C is on


_OF_PATHS: WeakKeyDictionary[nn.Module, Kept] = WeakKeyDictionary()  # by an adapter's first path: no copy, no file


def few_tokens(
    paths: Paths, x: Tensor, layer: nn.Module, base: Callable[[], FrozenBase], *, form: str, scaling: float
) -> Tensor | None:
    """The plain layer's output, base and paths: (..., in) → (..., out); None where nothing is kept for such a pass."""
    weight, bias = cast(Tensor, layer._parameters["weight"]), layer._parameters["bias"]
    first = next(iter(paths.values()))
    parts = _parts(paths, form) if "A" in paths or x.dtype in LOW else None
    if parts is None or not _may_keep(weight, x):
        _OF_PATHS.pop(first, None)
        return None
    if bias is not None:
        parts.append(bias)
    kept = _OF_PATHS.get(first)
    if kept is None or not _is_current(kept, parts, scaling, weight):
        with ordinary_mode():  # the next pass may be in another mode
            kept = _OF_PATHS[first] = _keep(paths, parts, weight, base(), scaling)
    w0, wide = weight.T if isinstance(layer, Conv1D) else weight, kept.added.dtype
    if kept.scale is None and wide is x.dtype and bias is not None:
        y = F.linear(x, w0, bias + kept.added)
    else:
        y = F.linear(x, w0, bias)
        y = y if wide is y.dtype else y.to(wide)
        y = y + kept.added if kept.scale is None else torch.addcmul(kept.added, y, kept.scale)
    if "B" in paths:
        y = _add_b(y, paths["B"], x, scaling)
    return y if y.dtype is x.dtype else y.to(x.dtype)


def _may_keep(weight: Tensor, x: Tensor) -> bool:
    """On a GPU a comparison would have to be waited for; where somebody looks at each operation (torch's dispatch
    modes), or no writes are counted (inference tensors), each pass is the first."""
    return (
        not torch.is_grad_enabled()
        and x.numel() <= FEW[x.dtype in LOW] * x.shape[-1]
        and weight.numel() >= SMALL
        and weight.device.type == "cpu"
        and weight.is_contiguous()
        and not (weight.is_inference() or torch._C._len_torch_dispatch_stack())
    )


def _parts(paths: Paths, form: str) -> list[Tensor] | None:
    """The tensors that do not meet the input, where A is one scale per output and each path holds its own."""
    parts: list[Tensor] = []
    for letter, path in paths.items():
        kind = type(path)
        if (kind is not SinglePath and kind is not LowRankPath) or path._forward_pre_hooks or "_hf_hook" in vars(path):
            return None
        held = cast("dict[str, Tensor]", path._parameters)
        if letter == "A" and (kind is LowRankPath or (form == "product" and held["X"].numel() > 1)):
            return None
        if letter != "B":
            parts += held.values()
    return parts or None


def _is_current(kept: Kept, parts: list[Tensor], scaling: float, weight: Tensor) -> bool:
    if kept.scaling != scaling or len(kept.parts) != len(parts):
        return False
    for then, now in zip(kept.parts, parts, strict=True):
        if then.dtype is not now.dtype or not torch.equal(then, now):
            return False
    return kept.weight is None or _is_same(kept.weight, weight)


def _is_same(then: Weight, weight: Tensor) -> bool:
    return (
        then.identity == id(weight)
        and then.version == weight._version
        and then.storage.cdata == weight.untyped_storage()._cdata
        and then.address == weight.data_ptr()
        and torch.equal(then.sample, _sampled(weight))
    )


def _keep(paths: Paths, parts: list[Tensor], weight: Tensor, base: FrozenBase, scaling: float) -> Kept:
    wide = functools.reduce(torch.promote_types, [t.dtype for path in paths.values() for t in path.parameters()])
    wide = torch.promote_types(wide, torch.float32 if weight.dtype in LOW else weight.dtype)
    added, scale, known = list(bias_terms(paths, base, scaling=scaling).values()), None, None
    if "A" in paths:
        a = cast(SinglePath, paths["A"]).values
        scale = 1 + a.to(wide)
        if base.bias is not None:
            added.append(-base.bias * a)  # a scales W0·x alone
    if "C" in paths:
        storage = StorageWeakRef(weight.untyped_storage())
        known = Weight(id(weight), weight._version, storage, weight.data_ptr(), _sampled(weight).clone())
    total = add(added) if added else weight.new_zeros(1)
    return Kept(total.to(wide), scale, scaling, [part.clone() for part in parts], known)


def _add_b(y: Tensor, path: LowRankPath | SinglePath, x: Tensor, scaling: float) -> Tensor:
    held = [cast(Tensor, tensor).to(y.dtype) for tensor in path._parameters.values()]
    if len(held) == 1:
        return torch.addcmul(y, x.sum(-1, keepdim=True, dtype=y.dtype), held[0].view(-1))
    rows = x.reshape(-1, x.shape[-1]).to(y.dtype)
    return torch.addmm(y.view(len(rows), -1), F.linear(rows, held[1]), held[0].T, alpha=scaling).view(y.shape)


def _sampled(weight: Tensor) -> Tensor:
    """Every `_step`-th value: at least one of each row and of each column."""
    step = _step(*weight.shape)
    return weight.as_strided(((weight.numel() - 1) // step + 1,), (step,))


@functools.cache
def _step(rows: int, columns: int) -> int:
    """The largest step shorter than a row that, within the matrix, comes by every column."""
    shortest = max(2, min(rows, columns))
    return next(step for step in range(shortest - 1, 0, -1) if math.gcd(step, columns) == 1)
