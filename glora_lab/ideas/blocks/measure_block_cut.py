"""How GraLoRA comes out of LoRA's two factors: the numbers that it cuts, where, and what the pieces make."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from glora_lab.adapters.view import adapter_parameters, chosen_adapter, delta_matrix, factor_pairs, find_layer

from .measure import grid_of
from .record import BlockCut

MOST_CHANNELS = 128  # of a side; of more a sample is kept


def block_cut(model: nn.Module, layer: str, adapter_name: str | None = None) -> BlockCut:
    """Factors, ΔW and grid of one adapter on one layer, from the tensors that train.

    Args:
        model: a model that carries GraLoRA or LoRA (one block), ours or stock PEFT's, trained or fresh.
        layer: the name of an adapted layer, or an unambiguous end of one.
        adapter_name: None for the first active adapter.

    Returns:
        B (out, r) and A (r, in) as they are before the cut, ΔW (out, in) and the grid as `block_grid` has it; of more
        than 128 channels a side every so-manieth, evenly over its blocks.

    Raises:
        ValueError: where the layer or the adapter is not there, and for GLoRA and DoRA, whose ΔW is no product of two
            factors.
    """
    name, tuner = find_layer(model, layer)
    found: Any = tuner
    adapter = chosen_adapter(found, adapter_name)
    with torch.no_grad():
        pairs = factor_pairs(found, adapter)
        delta = delta_matrix(found, adapter).cpu().numpy()
        own = pairs.B.shape[-1] - pairs.hybrid_r
        b, a = (factor[..., :own].cpu().numpy() for factor in (pairs.B, pairs.A))  # (m, n, o, s), (m, n, i, s)
    rows, columns = (_sample(size, pairs.k) for size in delta.shape)
    return BlockCut(
        grid=grid_of(name, found, adapter, delta),
        B=b.transpose(0, 2, 1, 3).reshape(delta.shape[0], -1)[rows].copy(),  # m·o down, n·s across
        A=a.transpose(0, 3, 1, 2).reshape(-1, delta.shape[1])[:, columns].copy(),  # m·s down, n·i across
        delta=delta[np.ix_(rows, columns)],
        params=sum(parameter.numel() for _, parameter in adapter_parameters(found, adapter)),
    )


def _sample(size: int, k: int) -> np.ndarray:
    """The channels that are kept, as many of each of k blocks."""
    each = size // k
    kept = min(each, max(1, MOST_CHANNELS // k))
    return (np.arange(k)[:, None] * each + np.arange(kept) * each // kept).ravel()
