"""GLoRA's terms from an adapter's tensors, the weight's as products of thin matrices where they are.

B is Xd·Xu in mode lora and v·1ᵀ as a vector or a constant; W0·A is (W0·Ad)·Au in mode lora. Elementwise A has the
rank of W0, and a diagonal A multiplies W0 column by column: they are no product.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from glora_lab.adapters.base.frozen import FrozenBase
from glora_lab.adapters.tuner.factors import Blocks, Term, one_block

from .formula import bias_terms, weight_terms
from .path_modules import LowRankPath, Path, SinglePath, build_path
from .paths import PATHS

Shape = tuple[int | None, int | None]  # (out, in), each None where nothing tells


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


def terms_of(
    tensors: Mapping[str, Tensor], base: FrozenBase | None, *, form: str, scaling: float, shape: Shape
) -> dict[str, Term | None]:
    """Path → its term in float64, from tensors under a checkpoint's names ("glora_C.Xd").

    A path that is zero is a 0 without axes, whatever it is multiplied with; None where `base` (float64) or the
    layer's sizes would have to be known.
    """
    terms: dict[str, Term | None] = {}
    for letter in PATHS:
        if (path := _path(tensors, letter)) is not None:
            zero = not all(parameter.any() for parameter in path.parameters())
            terms[letter] = torch.zeros(()) if zero else _term(letter, path, base, form, scaling, shape)
    return terms


def _path(tensors: Mapping[str, Tensor], letter: str) -> Path | None:
    """The path as the layers have it, in float64, so that their own formula can be asked."""
    start = f"glora_{letter}."
    own = {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
    if not own:
        return None
    path = build_path({name: tuple(tensor.shape) for name, tensor in own.items()})
    path = path.to(next(iter(own.values())).device, torch.float64)
    path.load_state_dict(own)
    return path.requires_grad_(False)


def _term(letter: str, path: Path, base: FrozenBase | None, form: str, scaling: float, shape: Shape) -> Term | None:
    out, into = shape
    if letter == "B":
        if isinstance(path, LowRankPath):
            return b_factors(path, scaling=scaling, out_features=0, in_features=0)
        if out is None or into is None:
            return None
        return b_factors(path, scaling=1.0, out_features=out, in_features=into)
    if letter == "E":
        assert isinstance(path, SinglePath)  # E has no mode lora
        return None if out is None else path.values.expand(out)
    if base is None:
        return None
    if letter != "A":
        return bias_terms({letter: path}, base, scaling=scaling)[letter]
    if form == "product" and isinstance(path, LowRankPath):
        return product_a_factors(path, base, scaling=scaling)
    return weight_terms({"A": path}, base, form=form, scaling=scaling)["A"]
