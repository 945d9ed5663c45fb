"""What a step of training computes and keeps, counted by watching it: FLOPs, pointwise work, bytes for backward.

`torch.utils.flop_counter` knows products of matrices, convolutions and the attention kernels of GPUs; the kernel that
attention has on a CPU and products of a matrix with a vector count 0 there, so their formulas are added here. It
counts nothing pointwise either. A model does little of that, but an adapter that builds W0 + W0⊙A + B does a good
deal, so it is counted on its own: as values written, because reading and writing them is what it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

aten = torch.ops.aten


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_backward(grad: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_backward_flop_count(grad, query, key, value)


def _matrix_vector(matrix: Any, *_: Any, **__: Any) -> int:
    return 2 * matrix[0] * matrix[1]


# operation → its FLOPs from the shapes of its arguments, where torch's counter has none
FORMULAS: Mapping[Any, Callable[..., int]] = MappingProxyType(
    {
        aten._scaled_dot_product_flash_attention_for_cpu: _attention,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
        aten.mv: _matrix_vector,
        aten.addmv: lambda _, matrix, *__, **___: _matrix_vector(matrix),
        aten.dot: lambda vector, *_, **__: 2 * vector[0],
    }
)


def count_work(step: Callable[[], object]) -> tuple[int, int]:
    """(FLOPs of products, values written by pointwise operations) of a call, backward passes in it included."""
    with FlopCounterMode(display=False, custom_mapping=dict(FORMULAS)) as products, _PointwiseValues() as pointwise:
        step()
    return products.get_total_flops(), pointwise.written


def count_saved(model: nn.Module, forward: Callable[[], Tensor]) -> tuple[Tensor, int]:
    """What `forward` returns, and the bytes that autograd keeps for its backward: each storage once and whole.

    Storages of the model's own parameters and buffers are left out, for they are there anyway.
    """
    own = {t.untyped_storage().data_ptr() for t in [*model.parameters(), *model.buffers()]}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = forward()
    return result, sum(kept.values())


class _PointwiseValues(TorchDispatchMode):
    """Counts the floating-point values that operations with torch's tag `pointwise` write."""

    written = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.is_floating_point() and torch.Tag.pointwise in func.tags:
            self.written += result.numel()
        return result
