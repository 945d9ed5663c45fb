"""W0·C, kept from one forward pass of a few tokens to the next, as in generation.

It is the one part of the bias that costs as much as the token's own product with W0. The others, and C from its
factors and scaling, are formed anew each time: that takes no longer than to be sure that nothing has changed. So C is
compared with what it was, value by value, and it does not matter who has written it, or how.

W0 is too large for that. What was kept of it is used while it is the same parameter in the same memory, autograd has
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
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from glora_lab.adapters.base.ordinary_mode import ordinary_mode

FEW = 4  # tokens; beside more, the product that W0·C costs does not count
SMALL = 2**16  # values of W0; with fewer, the product takes no longer than the comparisons


class Kept(NamedTuple):
    """A product, and what tells whether it would be the same now. W0 itself may be freed meanwhile."""

    product: Tensor
    c: Tensor
    weight_id: int
    version: int
    storage: StorageWeakRef  # while it is held, no other storage has this one's identity
    address: int
    sample: Tensor


_OF_PATHS: WeakKeyDictionary[nn.Module, Kept] = WeakKeyDictionary()  # by path C: no copy and no file of it has this


def may_keep(weight: Tensor, c: Tensor, tokens: int) -> bool:
    """Whether to keep W0·C of such a pass. On a GPU a comparison would have to be waited for; where somebody looks at
    each operation (torch's dispatch modes), or no writes are counted (inference tensors), each pass is the first."""
    return (
        tokens <= FEW
        and weight.numel() >= SMALL
        and weight.device.type == "cpu"
        and weight.is_contiguous()
        and not (torch.is_grad_enabled() and c.requires_grad)
        and not (weight.is_inference() or torch._C._len_torch_dispatch_stack())
    )


def kept_product(path: nn.Module, weight: Tensor, c: Tensor, product: Callable[[], Tensor]) -> Tensor:
    """`product()`, of `weight` as it is stored and the `c` of `path`, or what it was when both were the same.

    The caller has asked `may_keep`, and does not write to the answer.
    """
    kept = _OF_PATHS.get(path)
    if kept is None or not _is_current(kept, weight, c):
        with ordinary_mode():  # the next pass may be in another mode
            storage = StorageWeakRef(weight.untyped_storage())
            known = id(weight), weight._version, storage, weight.data_ptr(), _sampled(weight).clone()
            kept = _OF_PATHS[path] = Kept(product(), c.clone(), *known)
    return kept.product


def let_go(path: nn.Module) -> None:
    """Keep nothing of this path's C."""
    _OF_PATHS.pop(path, None)


def _is_current(kept: Kept, weight: Tensor, c: Tensor) -> bool:
    return (
        kept.weight_id == id(weight)
        and kept.version == weight._version
        and kept.storage.cdata == weight.untyped_storage()._cdata
        and kept.address == weight.data_ptr()
        and kept.c.dtype is c.dtype
        and torch.equal(kept.c, c)
        and torch.equal(kept.sample, _sampled(weight))
    )


def _sampled(weight: Tensor) -> Tensor:
    """Every `_step`-th value: at least one of each row and of each column."""
    step = _step(*weight.shape)
    return weight.as_strided(((weight.numel() - 1) // step + 1,), (step,))


@functools.cache
def _step(rows: int, columns: int) -> int:
    """The largest step shorter than a row that, within the matrix, comes by every column."""
    shortest = max(2, min(rows, columns))
    return next(step for step in range(shortest - 1, 0, -1) if math.gcd(step, columns) == 1)
