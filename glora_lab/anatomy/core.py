"""Small matrices with the singular values of ΔW, found without ΔW where it is a product of factors.

LoRA, and GraLoRA block by block, are ΔW[m, n] = B_mn A_mnᵀ. Let B_m = Q_m R_m be the thin decomposition of all left
factors of output block m side by side, A_n = P_n S_n that of the right factors of input block n. Then
ΔW[m, n] = Q_m (R_mn S_mnᵀ) P_nᵀ. Q and P have orthonormal columns, so the grid of the small R_mn S_mnᵀ has the singular
values of ΔW, and each has the norm of its block. A hybrid's plain LoRA joins as further columns of every B_m and A_n.

A core is (m, n, p, q): the grid, and in it matrices of at most r + hybrid_r rows and columns. For a matrix that is no
product it is the matrix itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Product(NamedTuple):
    """A term that is not multiplied out: left (o, r) @ right (r, i)."""

    left: Tensor
    right: Tensor


Term = Tensor | Product


def block_core(a: Tensor, b: Tensor, general: Product | None = None) -> Tensor:
    """GraLoRA's factors (k, i, r) and (k, r, o), in block_formula.py's layout; LoRA's are those of one block."""
    k, _, r = a.shape
    left, right = b.mT, a  # (m, o, n·s) and (n, i, m·s)
    if general is not None:
        left = torch.cat([left, general.left.view(k, -1, general.left.shape[1])], dim=-1)
        right = torch.cat([right, general.right.mT.reshape(k, -1, general.right.shape[0])], dim=-1)
    rows, columns = _triangle(left), _triangle(right)  # (m, p, n·s + h), (n, q, m·s + h)
    blocks = [part[..., :r].unflatten(-1, (k, r // k)) for part in (rows, columns)]  # (m, p, n, s), (n, q, m, s)
    core = torch.einsum("mpns,nqms->mnpq", *blocks)
    if general is not None:
        core = core + torch.einsum("mph,nqh->mnpq", rows[..., r:], columns[..., r:])
    return core


def core_of(terms: Sequence[Term]) -> Tensor:
    """The core of a sum of terms (o, i): small where all are products, the sum itself where one is not."""
    if not terms:
        return torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    products = [term for term in terms if isinstance(term, Product)]
    if len(products) == len(terms):
        left = torch.cat([term.left for term in products], dim=1)
        right = torch.cat([term.right for term in products], dim=0)
        return block_core(right.mT[None], left.mT[None])
    whole = [term.left @ term.right if isinstance(term, Product) else term for term in terms]
    return sum(whole[1:], start=whole[0])[None, None]


def as_matrix(core: Tensor) -> Tensor:
    """(m, n, p, q) → (m·p, n·q)."""
    k, n, p, q = core.shape
    return core.permute(0, 2, 1, 3).reshape(k * p, n * q)


def _triangle(factors: Tensor) -> Tensor:
    """R of each thin QR decomposition."""
    return torch.linalg.qr(factors, mode="r").R
