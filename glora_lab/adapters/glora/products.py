"""Three products that autograd would pay too much for, as functions of their own.

Elementwise lora-A needs W0⊙(1 + A), and autograd would keep that matrix and its gradient; one with W0 in a precision
that the processor has no instructions for would keep W0 widened, and a low-rank product of a low-precision x keeps x
widened. All three are formed anew on the way back. A gradient of a gradient, or a batch of gradients at once
(`is_grads_batched`, torch.vmap), is had from operations that autograd follows itself.

Without instructions torch multiplies bfloat16 and float16 one value at a time. Measured on one thread of an EPYC
without AVX-512, 768×768 in bfloat16, milliseconds, and in brackets the same in float32 with W0 widened 256 rows at a
time: forward 0.12 (0.17) for 1 token, 0.49 (0.29) for 4, 30 (4.3) for 256; backward 1.0 (0.18) for 1 token, 16 (0.5)
for 16, 249 (3.7) for 256. 2048×2048: forward 0.8 (1.2) for 1 token, 3.3 (2.5) for 4; backward 29 (1.2) for 1 token.
So GLoRA's layer works in float32 there and rounds once, with less error than the base alone; a forward pass of one or
two tokens, and an adapter that adds nothing yet, leave the product to the base.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._C._functorch import is_batchedtensor, is_legacy_batchedtensor

from .scaled_weight import ScaledWeight, StoredWeight


@functools.cache
def is_slow(dtype: torch.dtype, device_type: str) -> bool:
    """Whether products of this precision run one value at a time."""
    if device_type != "cpu" or dtype not in (torch.bfloat16, torch.float16):
        return False
    name = "_is_mkldnn_bf16_supported" if dtype is torch.bfloat16 else "_is_mkldnn_fp16_supported"
    asked = getattr(torch.ops.mkldnn, name, None)  # what torch itself asks before it uses oneDNN
    return asked is not None and torch.backends.mkldnn.is_available() and not asked()


def is_zero(factor: Tensor) -> bool:
    """Whether a factor is as it starts, so that the output has to be the base's, bit for bit.

    A product of more rows, or in blocks, is rounded in another order. On a GPU, where the answer would have to be
    waited for, such products are not used (`linear_and_product` in plain_base.py, and scaled_weight.py).
    """
    return factor.device.type == "cpu" and not (factor.reshape(-1)[0].item() or factor.count_nonzero())


def _followed(g: Tensor) -> bool:
    """Whether autograd is to follow the way back, or `g` is a batch of gradients."""
    return torch.is_grad_enabled() or is_legacy_batchedtensor(g) or is_batchedtensor(g)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None, conv1d: bool) -> Tensor:
    if x.dtype is weight.dtype:
        return F.linear(x, weight.T if conv1d else weight, bias)
    stored = StoredWeight(weight, x.dtype)
    return (stored.to_columns if conv1d else stored.to_rows)(x, bias)


class FrozenProduct(torch.autograd.Function):
    """W0·x + bias in x's precision, and back in float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, conv1d: bool) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.dtype, ctx.conv1d = x.dtype, conv1d
        return _product(x, weight, bias, conv1d)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        (weight,), of_x = ctx.saved_tensors, None
        if ctx.needs_input_grad[0]:
            wide = g.to(torch.float32)
            if _followed(g):
                of_x = wide @ (weight.T if ctx.conv1d else weight).to(wide.dtype)
            else:
                stored = StoredWeight(weight, wide.dtype)
                of_x = (stored.to_rows if ctx.conv1d else stored.to_columns)(wide)
            of_x = of_x.to(ctx.dtype)
        return of_x, None, g.sum(0) if ctx.needs_input_grad[2] else None, None


class ScaledProduct(torch.autograd.Function):
    """(W0⊙(1 + Xd·Xu))·x + bias, without `plus_one` (W0⊙(Xd·Xu))·x, in the precision `dtype`."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        xd: Tensor,
        xu: Tensor,
        bias: Tensor | None,
        conv1d: bool,
        plus_one: bool,
        dtype: torch.dtype,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, xd, xu)
        ctx.settings = conv1d, plus_one, dtype
        z = x.to(dtype)
        if is_zero(xd):
            return _product(z, weight, bias, conv1d) if plus_one else z.new_zeros(len(z), len(xd))
        scaled = _scaled(weight, xd, xu, *ctx.settings)
        return (scaled.to_columns if conv1d else scaled.to_rows)(z, bias)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, xd, xu = ctx.saved_tensors
        conv1d, plus_one, dtype = ctx.settings
        z, of_x, x_too = x.to(dtype), None, ctx.needs_input_grad[0]
        if _followed(g):
            w0, a = (weight.T if conv1d else weight).to(dtype), (xd @ xu).to(dtype)
            dense = ((g.T @ z) * w0).to(xd.dtype)
            of_x = g @ (torch.addcmul(w0, w0, a) if plus_one else w0 * a)
            of_xd, of_xu = dense @ xu.T, xd.T @ dense
        else:
            scaled = _scaled(weight, xd, xu, *ctx.settings)
            if conv1d:
                of_x = scaled.to_rows(g) if x_too else of_x
                of_xu, of_xd = (of.T for of in scaled.gradients(z, g))
            else:
                of_x = scaled.to_columns(g) if x_too else of_x
                of_xd, of_xu = scaled.gradients(g, z)
        of_bias = g.sum(0) if ctx.needs_input_grad[4] else None
        return None if of_x is None else of_x.to(x.dtype), None, of_xd, of_xu, of_bias, None, None, None


def _scaled(weight: Tensor, xd: Tensor, xu: Tensor, conv1d: bool, plus_one: bool, dtype: torch.dtype) -> ScaledWeight:
    """In the layout of the stored weight."""
    p, q = (xu.T, xd.T) if conv1d else (xd, xu)
    return ScaledWeight(weight, p, q, plus_one=plus_one, dtype=dtype)


class KeptNarrow(torch.autograd.Function):
    """x·Xuᵀ in the precision of Xu; x is kept in its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, xu: Tensor) -> Tensor:
        ctx.save_for_backward(x, xu)
        return F.linear(x.to(xu.dtype), xu)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
        x, xu = ctx.saved_tensors
        return (g @ xu).to(x.dtype), g.T @ x.to(g.dtype)
