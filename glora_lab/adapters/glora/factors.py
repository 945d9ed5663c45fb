"""GLoRA's weight terms as products of thin matrices, where they are: B in every mode, and the product form's A.

B is Xd·Xu in mode lora and v·1ᵀ as a vector or a constant; W0·A is (W0·Ad)·Au in mode lora. Elementwise A has the
rank of W0, and a diagonal A multiplies W0 column by column: they are no product.
"""

from __future__ import annotations

import torch
from torch import Tensor

from glora_lab.adapters.base.frozen import FrozenBase
from glora_lab.adapters.tuner.factors import Blocks, one_block

from .formula import LowRankPath, Path


def b_factors(path: Path, *, scaling: float, out_features: int, in_features: int) -> Blocks:
    if isinstance(path, LowRankPath):
        xd, xu = path()
        return one_block(xu, xd, scaling)
    values: Tensor = path.values
    lead = values.shape[:-1]
    return one_block(values.new_ones(*lead, 1, in_features), values.expand(*lead, out_features)[..., None])


def product_a_factors(path: LowRankPath, base: FrozenBase, *, scaling: float) -> Blocks:
    """W0·Ad beside Au, in float64."""
    xd, xu = (factor.double() for factor in path())
    return one_block(xu, base.product(xd.mT).mT, scaling)


def nothing(like: Tensor, lead: tuple[int, ...], out_features: int, in_features: int) -> Blocks:
    """Of an adapter that changes the bias alone: zeros of rank 1."""
    down, up = (torch.zeros(*lead, *shape, device=like.device) for shape in ((1, in_features), (out_features, 1)))
    return one_block(down, up)
