"""A plain base, multiplied from its weight without a call, in x's precision or a wider one."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._C import _are_functorch_transforms_active
from torch.autograd import forward_ad
from torch.nn.modules import module as modules
from torch.utils.module_tracker import ModuleTracker
from transformers.pytorch_utils import Conv1D

from glora_lab.adapters.base.frozen import FrozenBase
from glora_lab.adapters.base.kind import SUPPORTED, class_keeps_forward, keeps_forward

from .products import FrozenProduct, ScaledProduct, is_zero
from .scaled_weight import SMALL

PLAIN = (Tensor, nn.Parameter)
FEW = 32  # tokens up to which reading W0 is the cost, so that a vector goes along with them


class PlainBase(FrozenBase):
    """W0 and b0 of a layer to which `applies` applies, for one pass in the precision `wide`.

    A `slow` precision is one that the processor has no instructions for: W0 is widened block by block.
    """

    def __init__(self, layer: nn.Module, wide: torch.dtype, slow: bool) -> None:
        held = layer._parameters
        self.weight, self.held_bias = cast(Tensor, held["weight"]), held["bias"]
        self.conv1d, self.dtype, self.slow = isinstance(layer, Conv1D), wide, slow

    @property
    def bias(self) -> Tensor | None:
        bias = self.held_bias
        return bias if bias is None or bias.dtype is self.dtype else bias.to(self.dtype)

    def matrix(self) -> Tensor:
        return self.weight.T if self.conv1d else self.weight

    def linear(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """W0·x + bias: (t, in) → (t, out)."""
        if self.slow:
            out: Tensor = FrozenProduct.apply(x, self.weight, bias, self.conv1d)
            return out
        return F.linear(x, self.matrix(), bias)

    def product(self, x: Tensor) -> Tensor:
        rows = x if x.ndim == 2 else x.view(1, -1)
        out = self.linear(rows if self.slow else rows.to(self.dtype))
        return out if x.ndim == 2 else out[0]

    def linear_and_product(self, x: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """W0·x + b0 and W0·c; few tokens of a large layer take c along, where reading W0 is the cost."""
        if c is None:
            return self.linear(x, self.bias), None
        small = self.weight.numel() < SMALL or x.device.type != "cpu"
        if len(x) > FEW or small or is_zero(c):
            return self.linear(x, self.bias), self.product(c.to(x.dtype))
        y = self.linear(torch.cat([x, c.to(x.dtype).view(1, -1)]), self.bias)
        return y[:-1], y[-1] if self.bias is None else y[-1] - self.bias

    def scaled(self, x: Tensor, xd: Tensor, xu: Tensor, bias: Tensor | None = None, *, plus_one: bool = True) -> Tensor:
        """(W0⊙(1 + Xd·Xu))·x + bias, or (W0⊙(Xd·Xu))·x, in the precision of this pass."""
        out: Tensor = ScaledProduct.apply(x, self.weight, xd, xu, bias, self.conv1d, plus_one, self.dtype)
        return out


def applies(layer: nn.Module, x: Tensor, offloaded: bool = False) -> bool:
    """Whether `layer` is a plain layer, to be computed from its weight without a call, outside torch's transformations.

    Under torch.compile, torch.jit.trace, autocast and torch.func autograd follows `add_delta`; a layer with hooks, one
    that trains itself, one of DataParallel's copies, and tensors that are no plain ones are left to their owners.
    """
    kind = type(layer)
    if torch.compiler.is_compiling() or torch._C._is_tracing() or type(x) not in PLAIN:
        return False
    if kind not in SUPPORTED and not class_keeps_forward(kind):
        return False
    if layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks:
        return False
    if ("forward" in vars(layer) and not (offloaded and keeps_forward(layer))) or _global_hooks():
        return False
    held = layer._parameters
    if "weight" not in held or "bias" not in held:  # computed, see base/computed.py
        return False
    weight, bias = held["weight"], held["bias"]
    if type(weight) is not nn.Parameter or weight.requires_grad or (bias is not None and bias.requires_grad):
        return False
    if x.dtype is not weight.dtype or x.device != weight.device or not x.numel():
        return False
    return not (
        _are_functorch_transforms_active() or forward_ad._current_level >= 0 or torch.is_autocast_enabled(x.device.type)
    )


def _global_hooks() -> bool:
    """Whether a hook on all modules wants to see the base called; torch's FLOP counter only notes where it is."""
    if not modules._has_any_global_hook():
        return False
    if modules._global_backward_pre_hooks or modules._global_backward_hooks:
        return True
    hooks = [*modules._global_forward_pre_hooks.values(), *modules._global_forward_hooks.values()]
    return not all(isinstance(getattr(hook, "__self__", None), ModuleTracker) for hook in hooks)
