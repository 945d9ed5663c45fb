"""The layer beneath an adapter, seen as the linear map x ↦ W0·x + b0.

GLoRA multiplies W0, so it needs more of its base than LoRA does. All but one term need W0 only as a function;
elementwise lora-A alone needs the matrix. Where the base already carries an adapter, W0 is what that inner
layer computes, adapter included; it is then asked as a function, never taken apart.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

SUPPORTED = (nn.Linear, Conv1D)


def features(leaf: nn.Module) -> tuple[int, int]:
    """(in, out) features of a supported layer; Conv1D keeps its weight as (in, out)."""
    if isinstance(leaf, Conv1D):
        return leaf.weight.shape[0], leaf.weight.shape[1]
    return leaf.in_features, leaf.out_features  # type: ignore[return-value]


class FrozenBase:
    """W0 and b0 of `layer`, whose innermost module is `leaf`; a view for one computation, holding nothing.

    With `dtype`, W0 and b0 are read in that precision: merging computes in float32 and rounds once.
    """

    def __init__(self, layer: nn.Module, leaf: nn.Module, dtype: torch.dtype | None = None) -> None:
        self.layer, self.leaf, self.dtype = layer, leaf, dtype

    @property
    def bias(self) -> Tensor | None:
        if isinstance(self.layer, BaseTunerLayer):  # an inner adapter may bring a bias of its own: what it makes of 0
            weight = self.leaf.weight
            return self._ask(torch.zeros(features(self.leaf)[0], dtype=weight.dtype, device=weight.device))
        bias = self.leaf.bias
        return bias if bias is None or self.dtype is None else bias.to(self.dtype)

    def matrix(self) -> Tensor:
        """W0 as a matrix (out, in)."""
        if isinstance(self.layer, BaseTunerLayer):
            identity = torch.eye(features(self.leaf)[0], dtype=self.leaf.weight.dtype, device=self.leaf.weight.device)
            return self.product(identity).T
        weight = self.leaf.weight.T if isinstance(self.leaf, Conv1D) else self.leaf.weight
        return weight if self.dtype is None else weight.to(self.dtype)

    def product(self, x: Tensor) -> Tensor:
        """W0·x without b0: (..., in) → (..., out)."""
        if isinstance(self.layer, BaseTunerLayer):
            return self._ask(x.to(self.leaf.weight.dtype)) - self.bias
        weight = self.matrix()
        return F.linear(x.to(weight.dtype), weight)

    def _ask(self, x: Tensor) -> Tensor:
        # in evaluation mode, for W0 is one matrix, not a fresh draw of the inner adapter's dropout
        training = self.layer.training
        self.layer.eval()
        try:
            out = self.layer(x)
        finally:
            self.layer.train(training)
        return out if self.dtype is None else out.to(self.dtype)
