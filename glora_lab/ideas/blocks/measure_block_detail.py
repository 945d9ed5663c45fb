"""One block of ΔW taken apart: its two factors, its spectrum, and the channels that it touches."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from glora_lab.adapters.view import chosen_adapter, factor_pairs, find_layer
from glora_lab.arguments import refuse

from .record import BlockDetail


def block_detail(model: nn.Module, layer: str, m: int, n: int, adapter_name: str | None = None) -> BlockDetail:
    """Block (m, n) of one adapter's ΔW on one layer: factors, spectrum, rank and size, in float64.

    Args:
        model: a model that carries GraLoRA or LoRA (one block, m = n = 0), ours or stock PEFT's, trained or fresh.
        layer: the name of an adapted layer, or an unambiguous end of one.
        m, n: output and input block, counted from 0.
        adapter_name: None for the first active adapter.

    Returns:
        B (out/k, r/k) and A (in/k, r/k) as they train, the scaling apart; the block is scaling · B Aᵀ (arXiv
        2505.20355). The plain LoRA of a hybrid lies under all blocks: it is hybrid_r more columns of both, and counts
        in block, spectrum, rank and energy, as in `block_grid`. A rank is the number of singular values above those
        that rounding alone would leave.

    Raises:
        ValueError: where the layer, the adapter or the block is not there, and for GLoRA and DoRA, whose ΔW is no
            product of two factors.
    """
    name, tuner = find_layer(model, layer)
    found: Any = tuner
    adapter = chosen_adapter(found, adapter_name)
    with torch.no_grad():
        pairs = factor_pairs(found, adapter)
        k = len(pairs.B)
        _check_block(name, k, m=m, n=n)
        b, a = (factor[m, n].detach().clone() for factor in (pairs.B, pairs.A))  # a record stays what it was
        block = pairs.scaling * b @ a.T
        values = pairs.scaling * _spectrum(b, a)
        squares = _squared_norms(pairs.B, pairs.A)
        energy = squares[m, n] / squares.sum() if squares.any() else 0.0
    rounding = values.max() * max(block.shape) * torch.finfo(torch.float64).eps
    return BlockDetail(
        layer=name,
        m=int(m),
        n=int(n),
        k=k,
        B=b.cpu().numpy(),
        A=a.cpu().numpy(),
        scaling=float(pairs.scaling),
        block=block.cpu().numpy(),
        singular_values=values.cpu().numpy(),
        rank=int((values > rounding).sum()),
        norm=float(block.norm()),
        energy=float(energy),
        hybrid_r=pairs.hybrid_r,
    )


def _check_block(layer: str, k: int, **place: int) -> None:
    for axis, value in place.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 0 <= value < k:
            raise refuse(axis, value, f"must be an integer from 0 to {k - 1}: {layer} has {k} blocks per side")


def _spectrum(b: Tensor, a: Tensor) -> Tensor:
    """Singular values of B Aᵀ from small matrices: those of R_B R_Aᵀ, where B = Q_B R_B and A = Q_A R_A."""
    return torch.linalg.svdvals(torch.linalg.qr(b).R @ torch.linalg.qr(a).R.T)


def _squared_norms(b: Tensor, a: Tensor) -> Tensor:
    """‖B_mn A_mnᵀ‖² for every block, as sums over (s, s) matrices: no block is written out."""
    return ((b.mT @ b) * (a.mT @ a)).sum(dim=(-2, -1))
