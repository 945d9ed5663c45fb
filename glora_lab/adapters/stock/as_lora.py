"""One adapted layer as a plain LoRA: exactly where ΔW comes as a product of two thin matrices, else by its SVD.

Exact, from GLoRA: B in every mode and the product form's low-rank A; elementwise A has the rank of W0. From GraLoRA:
every block is a product of rank r/k, so the whole is one of rank k·r; a hybrid's LoRA comes beside it. What a method
does to the bias becomes the bias of `lora_B`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from glora_lab.adapters.base.frozen import float_dtype
from glora_lab.adapters.tuner.factors import Blocks, one_block
from glora_lab.adapters.tuner.layer import LabLayer

from .translate import alpha_for


class LoraFactors(NamedTuple):
    """scaling · up @ down is what is added to the weight, scaling · bias what is added to the bias."""

    down: Tensor  # (r, in), lora_A
    up: Tensor  # (out, r), lora_B
    scaling: float
    bias: Tensor | None  # (out,)

    @property
    def rank(self) -> int:
        return len(self.down)

    @property
    def alpha(self) -> float:
        return alpha_for(self.scaling, self.rank)


@torch.no_grad()
def lora_factors(layer: LabLayer, adapter: str, r: int | None) -> tuple[LoraFactors, float]:
    """The layer's adapter as LoRA, and its relative error ‖ΔW − written‖ / ‖ΔW‖.

    `r` is the largest rank allowed, None for the rank that ΔW has.
    """
    delta, found = layer.weight_delta(adapter, torch.float64), layer.blocks_of(adapter)
    if found is not None:
        found = found.one()
    if found is None or (r is not None and found.rank > r):
        found = _by_svd(delta, found, r)
    dtype = next((tensor.dtype for tensor in layer.tensors(adapter).values()), float_dtype(layer.innermost))
    bias = layer.bias_delta(adapter, torch.float64)
    factors = LoraFactors(
        found.A[0, 0].mT.to(dtype).contiguous(),
        found.B[0, 0].to(dtype).contiguous(),
        found.scaling,
        None if bias is None else (bias / found.scaling).to(dtype),
    )
    written = factors.scaling * (factors.up.double() @ factors.down.double())
    size = delta.norm()
    return factors, float((delta - written).norm() / size) if size else 0.0


def _by_svd(delta: Tensor, known: Blocks | None, r: int | None) -> Blocks:
    """The best product of rank `r`, each factor with the root of the singular values; None: the rank of `delta`."""
    if known is None:
        u, s, v = torch.linalg.svd(delta, full_matrices=False)
    else:  # of the two thin matrices, which costs less than of the whole
        q_up, r_up = torch.linalg.qr(known.B[0, 0].double())
        q_down, r_down = torch.linalg.qr(known.A[0, 0].double())
        u, s, v = torch.linalg.svd(known.scaling * r_up @ r_down.T, full_matrices=False)
        u, v = q_up @ u, v @ q_down.T
    numerical = int((s > s[0] * max(delta.shape) * torch.finfo(s.dtype).eps).sum()) or 1
    rank = numerical if r is None else min(r, len(s))
    root = s[:rank].sqrt()
    return one_block(root[:, None] * v[:rank], u[:, :rank] * root)
