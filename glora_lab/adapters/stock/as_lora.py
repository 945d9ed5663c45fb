"""One adapted layer as a plain LoRA: exactly where ΔW comes as a product of two thin matrices, else by its SVD.

Exact, from GLoRA: B in every mode (lora Xd·Xu, vector v·1ᵀ, constant) and the product form's low-rank A, W0·Ad·Au.
From GraLoRA: every block is a product of rank r/k, so the whole is one of rank k·r, with the blocks' factors
copied into matrices that are zero elsewhere; a hybrid's LoRA comes beside them. Elementwise A has the rank of W0.
What GLoRA does to the bias becomes the bias of `lora_B`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from glora_lab.adapters.base.frozen import float_dtype
from glora_lab.adapters.glora.formula import LowRankPath
from glora_lab.adapters.glora.layer import GloraLayer
from glora_lab.adapters.gralora.formula import block_factors

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
def lora_factors(layer: Any, adapter: str, r: int | None) -> tuple[LoraFactors, float]:
    """The layer's adapter as LoRA, and its relative error ‖ΔW − written‖ / ‖ΔW‖.

    `r` is the largest rank allowed, None for the rank that ΔW has.
    """
    delta = _delta(layer, adapter)
    found = _glora(layer, adapter) if isinstance(layer, GloraLayer) else _gralora(layer, adapter)
    if found is None or (r is not None and found[0].shape[0] > r):
        found = (*_by_svd(delta, found, r), 1.0)
    down, up, scaling = found
    dtype = _dtype(layer, adapter)
    bias = None
    if isinstance(layer, GloraLayer):
        terms = layer.bias_terms(adapter, torch.float64).values()
        bias = (sum(terms, start=torch.zeros_like(delta[:, 0])) / scaling).to(dtype) if terms else None
    factors = LoraFactors(down.to(dtype).contiguous(), up.to(dtype).contiguous(), scaling, bias)
    written = factors.scaling * (factors.up.double() @ factors.down.double())
    size = delta.norm()
    return factors, float((delta - written).norm() / size) if size else 0.0


def _delta(layer: Any, adapter: str) -> Tensor:
    if not isinstance(layer, GloraLayer):
        delta: Tensor = layer.weight_delta(adapter, torch.float64)
        return delta
    zero = torch.zeros(layer.out_features, layer.in_features, dtype=torch.float64, device=layer.innermost.weight.device)
    return sum(layer.weight_terms(adapter, torch.float64).values(), start=zero)


def _glora(layer: GloraLayer, adapter: str) -> tuple[Tensor, Tensor, float] | None:
    """(down, up, scaling), or None where A is elementwise or a diagonal."""
    paths, plan, scaling = layer.paths(adapter), layer.plans[adapter], layer.scaling[adapter]
    a, b = paths.get("A"), paths.get("B")
    if a is None and isinstance(b, LowRankPath):
        xd, xu = b()
        return xu, xd, scaling  # untouched
    device = layer.innermost.weight.device
    downs, ups = [], []
    if a is not None:
        if not (isinstance(a, LowRankPath) and plan.form == "product"):
            return None
        xd, xu = (factor.double() for factor in a())
        with layer.original():
            ups.append(layer.frozen_base(torch.float64).product(xd.T).T * scaling)  # W0·Ad, (out, r)
        downs.append(xu)
    if isinstance(b, LowRankPath):
        xd, xu = (factor.double() for factor in b())
        ups.append(xd * scaling)
        downs.append(xu)
    elif b is not None:
        ups.append(b.values.double().expand(layer.out_features)[:, None])
        downs.append(torch.ones(1, layer.in_features, dtype=torch.float64, device=device))
    if not ups:  # the bias alone changes
        return torch.zeros(1, layer.in_features, device=device), torch.zeros(layer.out_features, 1, device=device), 1.0
    return torch.cat(downs), torch.cat(ups, 1), 1.0


def _gralora(layer: Any, adapter: str) -> tuple[Tensor, Tensor, float]:
    b, a = block_factors(*layer.blocks(adapter))  # (m, n, o, s), (m, n, i, s)
    k, _, o, s = b.shape
    i = a.shape[2]
    up, down = b.new_zeros(k, o, k, k, s), a.new_zeros(k, k, s, k, i)
    for m in range(k):
        for n in range(k):
            up[m, :, m, n] = b[m, n]
            down[m, n, :, n] = a[m, n].T
    ups, downs = [up.reshape(k * o, k * k * s)], [down.reshape(k * k * s, k * i)]
    if adapter in layer.gralora_A_general:
        downs.append(layer.gralora_A_general[adapter]())
        ups.append(layer.gralora_B_general[adapter]())
    return torch.cat(downs), torch.cat(ups, 1), layer.scaling[adapter]


def _by_svd(delta: Tensor, known: tuple[Tensor, Tensor, float] | None, r: int | None) -> tuple[Tensor, Tensor]:
    """The best product of rank `r`, each factor with the root of the singular values; None: the rank of `delta`."""
    if known is None:
        u, s, v = torch.linalg.svd(delta, full_matrices=False)
    else:  # of the two thin matrices, which costs less than of the whole
        down, up, scaling = known[0].double(), known[1].double(), known[2]
        q_up, r_up = torch.linalg.qr(up)
        q_down, r_down = torch.linalg.qr(down.T)
        u, s, v = torch.linalg.svd(scaling * r_up @ r_down.T, full_matrices=False)
        u, v = q_up @ u, v @ q_down.T
    numerical = int((s > s[0] * max(delta.shape) * torch.finfo(s.dtype).eps).sum()) or 1
    rank = numerical if r is None else min(r, len(s))
    root = s[:rank].sqrt()
    return root[:, None] * v[:rank], u[:, :rank] * root


def _dtype(layer: Any, adapter: str) -> torch.dtype:
    for name in layer.adapter_layer_names:
        held = getattr(layer, name)
        if adapter in held:
            item = held[adapter]
            return item.dtype if isinstance(item, Tensor) else next(item.parameters()).dtype
    return float_dtype(layer.innermost)
