"""ΔW where it is no more than two thin matrices multiplied, or a grid of such products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor


class Blocks(NamedTuple):
    """Block (m, n) of ΔW is scaling · B[m, n] @ A[m, n].mT, all of ΔW there; a LoRA is one block.

    The last `hybrid_r` columns are of a plain LoRA beneath all blocks: the same B in a whole row of blocks and the
    same A in a whole column.
    """

    B: Tensor  # (…, m, n, out/k, s)
    A: Tensor  # (…, m, n, in/k, s)
    scaling: float = 1.0
    hybrid_r: int = 0

    @property
    def k(self) -> int:
        return self.B.shape[-4]

    @property
    def r(self) -> int:
        """k times a block's own rank: what a configuration has for it."""
        return self.k * (self.B.shape[-1] - self.hybrid_r)

    @property
    def rank(self) -> int:
        """The most that ΔW can have."""
        return self.k * self.r + self.hybrid_r

    def one(self) -> Blocks:
        """The same ΔW as one block: the factors of a grid copied into matrices that are zero elsewhere."""
        k, h = self.k, self.hybrid_r
        if k == 1:
            return self._replace(hybrid_r=0)
        (b, general_b), (a, general_a) = ((f[..., : f.shape[-1] - h], f[..., f.shape[-1] - h :]) for f in self[:2])
        o, i, s = b.shape[-2], *a.shape[-2:]
        up, down = b.new_zeros(k, o, k, k, s), a.new_zeros(k, k, s, k, i)
        for m in range(k):
            for n in range(k):
                up[m, :, m, n] = b[m, n]
                down[m, n, :, n] = a[m, n].T
        up, down = up.reshape(k * o, k * k * s), down.reshape(k * k * s, k * i)
        general_up, general_down = general_b[:, 0].flatten(0, 1), general_a[0].flatten(0, 1).T
        return one_block(torch.cat([down, general_down]), torch.cat([up, general_up], 1), self.scaling)

    def matrix(self) -> Tensor:
        """ΔW (…, out, in)."""
        grid = self.B @ self.A.mT  # (…, m, n, o, i)
        return self.scaling * grid.transpose(-3, -2).flatten(-2).flatten(-3, -2)

    def double(self) -> Blocks:
        return self._replace(B=self.B.double(), A=self.A.double())

    def with_lora(self, down: Tensor, up: Tensor) -> Blocks:
        """The same grid over a plain LoRA of this scaling: down (…, hybrid_r, in), up (…, out, hybrid_r)."""
        b, a = up.unflatten(-2, (self.k, 1, -1)), down.mT.unflatten(-2, (1, self.k, -1))
        b, a = (one.expand(*self.B.shape[:-2], *one.shape[-2:]) for one in (b, a))
        return Blocks(torch.cat([self.B, b], -1), torch.cat([self.A, a], -1), self.scaling, down.shape[-2])


def one_block(down: Tensor, up: Tensor, scaling: float = 1.0) -> Blocks:
    """scaling · up @ down: (…, r, in) and (…, out, r)."""
    return Blocks(up[..., None, None, :, :], down.mT[..., None, None, :, :], scaling)


Term: TypeAlias = Tensor | Blocks  # of ΔW (out, in), or of Δb (out,)


def beside(products: Sequence[Blocks]) -> Blocks:
    """The sum of grids alike, their columns side by side; in float64 where there is more than one."""
    if len(products) == 1:
        return products[0]
    wide = [one.double() for one in products]
    return Blocks(torch.cat([one.B * one.scaling for one in wide], -1), torch.cat([one.A for one in wide], -1))
