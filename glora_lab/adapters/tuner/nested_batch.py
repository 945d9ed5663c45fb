"""Batches of sequences of different lengths (torch.nested), which `nn.Linear` takes like any other.

A layer has to do with rows alone, so a nested batch goes through it as all of its rows, one sequence behind the
other, and becomes nested again in the same way as it was: with its own offsets, which torch asks for where two such
batches are added.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def by_rows(
    forward: Callable[..., Tensor], x: Tensor, adapter_names: Sequence[str] | None, *args: Any, **kwargs: Any
) -> Tensor:
    """`forward` of the rows of a nested `x`, nested as `x` is; `adapter_names` has a name for each sequence.

    Raises:
        ValueError: where there is not one name per sequence.
    """
    jagged: Any = x if x.layout is torch.jagged else None
    if jagged is not None and adapter_names is None:
        return _jagged_like(jagged, forward(x.values(), *args, **kwargs))
    parts = x.unbind()
    rows = [part.reshape(-1, part.shape[-1]) for part in parts]
    if adapter_names is not None:
        if len(adapter_names) != len(parts):
            raise ValueError(
                "Length of `adapter_names` should be the same as the number of inputs, but got "
                f"{len(adapter_names)} and {len(parts)} respectively."
            )
        kwargs["adapter_names"] = [n for n, of in zip(adapter_names, rows, strict=True) for _ in range(len(of))]
    found = forward(torch.cat(rows), *args, **kwargs).split([len(of) for of in rows])
    shaped = [of.view(*part.shape[:-1], -1) for of, part in zip(found, parts, strict=True)]
    if jagged is not None and jagged.lengths() is None:
        return _jagged_like(jagged, torch.cat(shaped, jagged._ragged_idx - 1))
    return torch.nested.as_nested_tensor(shaped, layout=x.layout)


def _jagged_like(x: Any, values: Tensor) -> Tensor:
    return torch.nested.nested_tensor_from_jagged(values, x.offsets(), x.lengths(), jagged_dim=x._ragged_idx)
