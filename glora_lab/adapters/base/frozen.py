"""The layer beneath an adapter, seen as the linear map x ↦ W0·x + b0.

GLoRA multiplies W0, so it needs more of its base than LoRA does. All but one term need W0 only as a function;
elementwise lora-A alone needs the matrix. Where the base already carries an adapter, W0 is what that inner
layer computes, adapter included; where its weight is quantised, only the layer itself can read it; and where its
forward is one of its own, the weight may mean anything. All three are asked as a function, never taken apart.
"""

from __future__ import annotations

from typing import Any, TypeAlias, cast

import torch
import torch.nn.functional as F
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from .computed import is_computed, value_of
from .kind import SUPPORTED as SUPPORTED
from .kind import Kind, kind_of
from .parameter import ParameterAsLayer

InnermostLayer: TypeAlias = nn.Linear  # or a Conv1D, which has the same two parameters, its weight as (in, out)


def features(layer: nn.Module | ParameterAsLayer) -> tuple[int, int]:
    """(in, out) features of a supported layer."""
    if isinstance(layer, ParameterAsLayer):
        return layer.features
    if isinstance(layer, Conv1D):
        return layer.weight.shape[0], layer.weight.shape[1]
    linear: Any = layer
    assert isinstance(layer, nn.Linear) or is_packed(layer)
    return linear.in_features, linear.out_features


def lead(layer: nn.Module | ParameterAsLayer) -> tuple[int, ...] | None:
    """The axes before a parameter's matrices; None for a layer."""
    return layer.lead if isinstance(layer, ParameterAsLayer) else None


def is_transposed(layer: nn.Module | ParameterAsLayer) -> bool:
    """Whether the weight is kept as (in, out)."""
    return layer.transposed if isinstance(layer, ParameterAsLayer) else isinstance(layer, Conv1D)


def is_quantised(layer: nn.Module | ParameterAsLayer) -> bool:
    """Whether W0 is kept in a form that only the layer reads: bitsandbytes' 8 and 4 bits, 8-bit floating point,
    torchao's tensors."""
    if isinstance(layer, ParameterAsLayer):
        return False  # would not have been taken
    weight = layer._parameters.get("weight")
    if type(layer) is Conv1D or weight is None:
        return False
    if not weight.dtype.is_floating_point or weight.dtype.itemsize == 1:
        return isinstance(layer, nn.Linear)
    # torchao's tensors give the type they were made from for their own
    return type(weight) is not nn.Parameter and type(weight).__module__.startswith("torchao.")


def is_packed(layer: nn.Module | ParameterAsLayer) -> bool:
    """Whether `torch.ao.quantization.quantize_dynamic` has packed the layer since: `weight` and `bias` are methods."""
    return callable(getattr(type(layer), "weight", None))  # of the class: a layer's own may be computed when it is read


def is_sharded(tensor: Tensor) -> bool:
    """Whether other processes hold parts of a tensor, as FSDP2's do: a DTensor. It is whole while its module runs."""
    return hasattr(tensor, "full_tensor")


def is_map(layer: nn.Module) -> bool:
    """Whether a supported layer maps (…, in) to (…, out), whatever else it may be."""
    return is_quantised(layer) or kind_of(layer) is not Kind.OTHER


def is_function(layer: nn.Module | ParameterAsLayer) -> bool:
    """Whether the layer computes in a way of its own, in which its weight need not be W0."""
    if isinstance(layer, ParameterAsLayer):
        return False
    return not is_quantised(layer) and kind_of(layer) is Kind.FUNCTION


def float_dtype(layer: InnermostLayer) -> torch.dtype:
    """The precision that the layer's values have, or, quantised, that its bias has: an adapter takes it."""
    for tensor in (layer.weight, layer.bias):
        if isinstance(tensor, Tensor) and tensor.dtype.is_floating_point and tensor.dtype.itemsize > 1:
            return tensor.dtype
    return torch.get_default_dtype()


def frozen_base(layer: nn.Module, innermost: InnermostLayer, dtype: torch.dtype | None = None) -> FrozenBase:
    """W0 and b0 of `layer`, whose innermost layer is `innermost`."""
    if isinstance(innermost, ParameterAsLayer):
        return ParameterBase(innermost, dtype)
    if is_packed(innermost) and layer is innermost:
        return PackedBase(innermost, dtype)
    if isinstance(layer, BaseTunerLayer):
        return FunctionBase(layer, innermost, dtype)
    if is_quantised(innermost):
        return QuantisedBase(innermost, innermost, dtype)
    if kind_of(innermost) is Kind.FUNCTION:
        return FunctionBase(innermost, innermost, dtype)
    return ComputedBase(innermost, dtype) if is_computed(innermost) else FrozenBase(innermost, dtype)


def _device(layer: InnermostLayer) -> torch.device:
    return torch.device("cpu") if is_packed(layer) else layer.weight.device


class FrozenBase:
    """W0 and b0 of a plain layer; a view for one computation, holding nothing.

    With `dtype`, W0 and b0 are read in that precision: merging computes in float32 and rounds once.
    """

    def __init__(self, innermost: InnermostLayer, dtype: torch.dtype | None = None) -> None:
        self.innermost, self.dtype = innermost, dtype

    @property
    def bias(self) -> Tensor | None:
        return None if self.innermost.bias is None else self._read(self.innermost.bias)

    def matrix(self) -> Tensor:
        """W0 as a matrix (out, in)."""
        return self._read(self.innermost.weight.T if is_transposed(self.innermost) else self.innermost.weight)

    def product(self, x: Tensor) -> Tensor:
        """W0·x without b0: (..., in) → (..., out)."""
        weight = self.matrix()
        return F.linear(x.to(weight.dtype), weight)

    def _read(self, tensor: Tensor) -> Tensor:
        tensor = tensor.full_tensor() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]
        return tensor if self.dtype is None else tensor.to(self.dtype)


class ParameterBase(FrozenBase):
    """W0 of a parameter, (…, out, in).

    In its own precision whatever `dtype` is: a product promotes its entries, where a copy of all experts in float32
    would be kept until backward.
    """

    def matrix(self) -> Tensor:
        return self.innermost.weight.mT if is_transposed(self.innermost) else self.innermost.weight


class PackedBase(FrozenBase):
    """W0 and b0 of a layer that was packed after the adapter was put on, as it multiplies with them."""

    @property
    def bias(self) -> Tensor | None:
        bias = cast(Any, self.innermost).bias()
        return None if bias is None else self._read(bias.detach())

    def matrix(self) -> Tensor:
        return self._read(cast(Any, self.innermost).weight().dequantize())


class ComputedBase(FrozenBase):
    """W0 and b0 of a layer that computes them."""

    @property
    def bias(self) -> Tensor | None:
        bias = value_of(self.innermost, "bias")
        return None if bias is None else self._read(bias)

    def matrix(self) -> Tensor:
        weight = value_of(self.innermost, "weight")
        assert weight is not None
        return self._read(weight.T if isinstance(self.innermost, Conv1D) else weight)


class AskedBase(FrozenBase):
    """W0 and b0 of a layer that is asked what it makes of a vector."""

    def __init__(self, layer: nn.Module, innermost: InnermostLayer, dtype: torch.dtype | None = None) -> None:
        super().__init__(innermost, dtype)
        self.layer = layer

    def matrix(self) -> Tensor:
        eye = torch.eye(features(self.innermost)[0], dtype=float_dtype(self.innermost), device=_device(self.innermost))
        return self.product(eye).T

    def product(self, x: Tensor) -> Tensor:
        product, bias = self._ask(x.to(float_dtype(self.innermost))), self.bias
        return product if bias is None else product - bias

    def _ask(self, x: Tensor) -> Tensor:
        if x.ndim == 1:  # a DoRA answers a vector with a matrix, and 4 bits want rows
            return self._ask(x[None])[0]
        return self._read(self.layer(x))


class QuantisedBase(AskedBase):
    """W0 and b0 of a layer with a quantised weight; b0 is kept as it is."""


class FunctionBase(AskedBase):
    """W0 and b0 of a layer that is more than its weight, for it carries an adapter already, or has a forward of its
    own: what it makes of a vector, and of 0."""

    answer_to_zero: Tensor | None = None  # no cached_property: before Python 3.12 its lock stops torch.compile

    @property
    def bias(self) -> Tensor:
        innermost = self.innermost  # such a layer may bring a bias where the innermost layer has none
        if self.answer_to_zero is None:
            zero = torch.zeros(features(innermost)[0], dtype=float_dtype(innermost), device=_device(innermost))
            self.answer_to_zero = self._ask(zero)
        return self.answer_to_zero

    def _ask(self, x: Tensor) -> Tensor:
        # in evaluation mode, for W0 is one matrix, not a fresh draw of an inner dropout
        modes = [module for module in self.layer.modules() if module.training]
        for module in modes:
            module.training = False
        try:
            return super()._ask(x)
        finally:
            for module in modes:
                module.training = True
