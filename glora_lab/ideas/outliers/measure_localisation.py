"""How far contamination reaches, and what decides it: the sizes of G's columns, block by block.

A fresh adapter of LoRA makes G AᵀA of G, A Gaussian enough: column i becomes itself and a mixture of all the columns in
its block, each weighing 1/√r of its size. GraLoRA mixes within one of k input blocks alone, of an energy ‖G_n‖² that is
smaller, at a rank r/k. So channel i of block n is off by about

    e_i = √(k/r) · ‖G_n‖ / ‖G[:, i]‖

and, the mixture being Gaussian over as many directions d as the block has singular values that count,
(Σλ)² / Σλ² of λ = σ², off by more than L with the probability that χ²_d / d exceeds (L / e_i)². Nothing here is fitted.
"""

from __future__ import annotations

import torch
from torch import Tensor

from glora_lab.arguments import check_positive_int, check_positive_number, refuse


def expected_deviation(gradient: Tensor, *, k: int, r: int) -> Tensor:
    """e_i (in,), infinite where column i is 0 beside others that are not; √(in/r) where all columns are alike.

    Args:
        gradient: G (out, in).
        k: blocks a side, 1 for LoRA.
        r: the rank of LoRA, whose block of GraLoRA has r/k.

    Raises:
        ValueError: for a k that does not divide both sides of G, or a number that is none.
    """
    sizes, energy = gradient.norm(dim=0), _blocks(gradient, k, r).square().sum((0, 2, 3))  # (i,), (n,)
    off = (k / r * energy).sqrt().repeat_interleave(len(sizes) // k) / sizes
    return torch.where(sizes > 0, off, torch.where(off > 0, torch.inf, 0.0)).nan_to_num(0.0, posinf=torch.inf)


def expected_share(gradient: Tensor, *, k: int, r: int, limit: float) -> float:
    """The share of input channels that a fresh adapter of rank r is off for by more than `limit` times, under "equal
    decrease": from G alone. Arguments and errors as for `expected_deviation`, and ValueError for a limit that is none.
    """
    check_positive_number("limit", limit)
    blocks = _blocks(gradient, k, r)
    shorter = blocks if blocks.shape[-2] <= blocks.shape[-1] else blocks.mT
    whole, squares = (each.square().sum((0, 2, 3)) for each in (blocks, shorter @ shorter.mT))  # Σλ and Σλ², (n,)
    directions = torch.where(squares > 0, whole.square() / squares, 1.0).repeat_interleave(gradient.shape[1] // k)
    within = (limit / expected_deviation(gradient, k=k, r=r)).square()  # infinite where nothing is off
    return torch.special.gammaincc(directions / 2, directions / 2 * within.clamp(max=1e6)).mean().item()


def _blocks(gradient: Tensor, k: int, r: int) -> Tensor:
    """(out, in) → (m, n, o, i)."""
    check_positive_int("k", k)
    check_positive_int("r", r)
    out, into = gradient.shape
    if out % k or into % k:
        raise refuse("k", k, f"must divide the {into} inputs and {out} outputs of the layer")
    return gradient.double().reshape(k, out // k, k, into // k).transpose(1, 2)
