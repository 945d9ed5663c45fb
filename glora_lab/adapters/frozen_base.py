"""The layer beneath an adapter, seen as the linear map x ↦ W0·x + b0.

GLoRA multiplies W0, so it needs more of its base than LoRA does. All but one term need W0 only as a function;
elementwise lora-A alone needs the matrix. Where the base already carries an adapter, W0 is what that inner
layer computes, adapter included; it is then asked as a function, never taken apart.
"""

from __future__ import annotations

from functools import cached_property
from typing import TypeAlias

import torch
import torch.nn.functional as F
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

SUPPORTED = (nn.Linear, Conv1D)
Leaf: TypeAlias = nn.Linear  # or a Conv1D, which has the same two parameters, its weight as (in, out)


def features(leaf: nn.Module) -> tuple[int, int]:
    """(in, out) features of a supported layer."""
    if isinstance(leaf, Conv1D):
        return leaf.weight.shape[0], leaf.weight.shape[1]
    assert isinstance(leaf, nn.Linear)
    return leaf.in_features, leaf.out_features


def frozen_base(layer: nn.Module, leaf: Leaf, dtype: torch.dtype | None = None) -> FrozenBase:
    """W0 and b0 of `layer`, whose innermost module is `leaf`."""
    return InnerBase(layer, leaf, dtype) if isinstance(layer, BaseTunerLayer) else FrozenBase(leaf, dtype)


class FrozenBase:
    """W0 and b0 of a plain layer; a view for one computation, holding nothing.

    With `dtype`, W0 and b0 are read in that precision: merging computes in float32 and rounds once.
    """

    def __init__(self, leaf: Leaf, dtype: torch.dtype | None = None) -> None:
        self.leaf, self.dtype = leaf, dtype

    @property
    def bias(self) -> Tensor | None:
        return None if self.leaf.bias is None else self._read(self.leaf.bias)

    def matrix(self) -> Tensor:
        """W0 as a matrix (out, in)."""
        return self._read(self.leaf.weight.T if isinstance(self.leaf, Conv1D) else self.leaf.weight)

    def product(self, x: Tensor) -> Tensor:
        """W0·x without b0: (..., in) → (..., out)."""
        weight = self.matrix()
        return F.linear(x.to(weight.dtype), weight)

    def _read(self, tensor: Tensor) -> Tensor:
        return tensor if self.dtype is None else tensor.to(self.dtype)


class InnerBase(FrozenBase):
    """W0 and b0 of a layer that carries an adapter already: what it makes of a vector, and of 0."""

    def __init__(self, layer: nn.Module, leaf: Leaf, dtype: torch.dtype | None = None) -> None:
        super().__init__(leaf, dtype)
        self.layer = layer

    @cached_property
    def bias(self) -> Tensor:
        weight = self.leaf.weight  # an inner adapter may bring a bias where the leaf has none
        return self._ask(weight.new_zeros(features(self.leaf)[0]))

    def matrix(self) -> Tensor:
        weight = self.leaf.weight
        return self.product(torch.eye(features(self.leaf)[0], dtype=weight.dtype, device=weight.device)).T

    def product(self, x: Tensor) -> Tensor:
        return self._ask(x.to(self.leaf.weight.dtype)) - self.bias

    def _ask(self, x: Tensor) -> Tensor:
        if x.ndim == 1:  # a DoRA answers a vector with a matrix
            return self._ask(x[None])[0]
        # in evaluation mode, for W0 is one matrix, not a fresh draw of the inner adapter's dropout
        modes = [(module, module.training) for module in self.layer.modules()]
        self.layer.eval()
        try:
            return self._read(self.layer(x))
        finally:
            for module, training in modes:
                module.training = training
