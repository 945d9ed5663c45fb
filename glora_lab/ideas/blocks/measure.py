"""GraLoRA's grid: how large each block of ΔW is, what rank it has, and what rank all of them make together.

ΔW is cut, not recomputed: the blocks come from the one matrix that the layer adds to its weight. So a hybrid's plain
LoRA, which lies under all blocks, is counted in every one of them and in the whole.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from glora_lab.adapters.peft_layers import table_of
from glora_lab.adapters.view import chosen_adapter, delta_matrix, find_layer
from glora_lab.anatomy.size import LARGEST_RANK_ASKED

from .record import BlockGrid

SPARE = 8  # columns of a sketch beyond the rank that is possible


def block_grid(model: nn.Module, layer: str, adapter_name: str | None = None) -> BlockGrid:
    """ΔW of one adapter on one layer, block by block, in float64.

    Args:
        model: a model that carries LoRA, GLoRA or GraLoRA, ours or stock PEFT's, trained or fresh.
        layer: the name of an adapted layer, or an unambiguous end of one.
        adapter_name: None for the first active adapter.

    Returns:
        Arrays [m, n] of shape (k, k), m the output block and n the input block; LoRA and GLoRA are one block. A rank
        is the number of singular values above those that rounding alone would leave. It is found at any size where
        the factors bound it (arXiv 2505.20355: r/k per block, k·r in all, and hybrid_r more); that of GLoRA and DoRA,
        which r does not bound, is None (in `ranks` -1) where both sides of the layer are above 1,024.

    Raises:
        ValueError: where the layer or the adapter is not there, or ΔW is no matrix that `delta_matrix` knows.
    """
    name, tuner = find_layer(model, layer)
    found: Any = tuner
    adapter = chosen_adapter(found, adapter_name)
    with torch.no_grad():
        delta = delta_matrix(found, adapter).cpu().numpy()
    return grid_of(name, found, adapter, delta)


def grid_of(name: str, found: Any, adapter: str, delta: np.ndarray) -> BlockGrid:
    """The grid of this layer's ΔW (out, in), which was found before."""
    product = table_of(found).blocks_of(adapter)
    k, hybrid_r = (1, 0) if product is None else (product.k, product.hybrid_r)
    blocks = cut(delta, k)
    ranks = _ranks(blocks, product and product.B.shape[-1])
    rank = _ranks(delta, product and product.rank)
    square = (blocks**2).sum(axis=(2, 3))
    return BlockGrid(
        layer=name,
        norms=np.sqrt(square),
        ranks=np.full((k, k), -1) if ranks is None else ranks,
        energy=square / (square.sum() or 1.0),
        rank=None if rank is None else int(rank),
        r=found.r[adapter],
        hybrid_r=hybrid_r,
        shape=(delta.shape[0], delta.shape[1]),
    )


def cut(matrix: np.ndarray, k: int) -> np.ndarray:
    """(out, in) → blocks [m, n] as (k, k, out/k, in/k)."""
    rows, columns = matrix.shape
    return matrix.reshape(k, rows // k, k, columns // k).swapaxes(1, 2)


def _ranks(matrices: np.ndarray, at_most: int | None) -> np.ndarray | None:
    """Numerical ranks over the last two axes; through a sketch that keeps the singular values where `at_most` is low.

    D and QᵀD have the same ones, where Q spans D's columns: D times a few more random vectors than D has rank.
    """
    shape = matrices.shape[-2:]
    smaller = min(shape)
    if at_most is None and smaller > LARGEST_RANK_ASKED:
        return None
    if at_most is not None and at_most + SPARE < smaller:
        vectors = np.random.default_rng(0).standard_normal((shape[1], at_most + SPARE))
        q, _ = np.linalg.qr(matrices @ vectors)
        matrices = q.swapaxes(-1, -2) @ matrices
    values = np.linalg.svd(matrices, compute_uv=False)
    rounding = values.max(axis=-1, keepdims=True) * max(shape) * np.finfo(float).eps
    return (values > rounding).sum(axis=-1)
