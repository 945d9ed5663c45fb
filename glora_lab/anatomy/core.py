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

import torch
from torch import Tensor

from glora_lab.adapters.tuner.factors import Blocks, Term, beside


def block_core(blocks: Blocks) -> Tensor:
    k, h = blocks.k, blocks.hybrid_r
    s = blocks.B.shape[-1] - h
    left = torch.cat([blocks.B[..., :s].transpose(1, 2).flatten(2), blocks.B[:, 0, :, s:]], -1)  # (m, o, n·s + h)
    right = torch.cat([blocks.A[..., :s].permute(1, 2, 0, 3).flatten(2), blocks.A[0, ..., s:]], -1)  # (n, i, m·s + h)
    rows, columns = _triangle(left), _triangle(right)  # (m, p, n·s + h), (n, q, m·s + h)
    grids = [part[..., : k * s].unflatten(-1, (k, s)) for part in (rows, columns)]  # (m, p, n, s), (n, q, m, s)
    core = torch.einsum("mpns,nqms->mnpq", *grids)
    if h:
        core = core + torch.einsum("mph,nqh->mnpq", rows[..., k * s :], columns[..., k * s :])
    return core * blocks.scaling


def core_of(terms: Sequence[Term]) -> Tensor:
    """The core of a sum of terms (o, i): small where all are products, the sum itself where one is not."""
    if not terms:
        return torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    products = [term for term in terms if isinstance(term, Blocks)]
    if len(products) == len(terms):
        return block_core(products[0] if len(products) == 1 else beside([one.one() for one in products]))
    whole = [term.matrix() if isinstance(term, Blocks) else term for term in terms]
    return sum(whole[1:], start=whole[0])[None, None]


def as_matrix(core: Tensor) -> Tensor:
    """(m, n, p, q) → (m·p, n·q)."""
    k, n, p, q = core.shape
    return core.permute(0, 2, 1, 3).reshape(k * p, n * q)


def _triangle(factors: Tensor) -> Tensor:
    """R of each thin QR decomposition."""
    return torch.linalg.qr(factors, mode="r").R
