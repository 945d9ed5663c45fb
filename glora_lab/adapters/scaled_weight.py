"""Elementwise lora-A without its matrix: products with W0⊙(1 + s·Ad·Au), or with W0⊙(s·Ad·Au) alone.

The matrix is as large as W0 and costs more to write to memory than to form again, so it is formed a few rows at a
time, used while it is in the cache, and formed anew in the backward pass. With one or a few tokens it is not
formed at all. Everything here is in the layout in which W0 is stored, V = P-rows × Q-columns, so that an
`nn.Linear` (out × in) and a `Conv1D` (in × out) both read their weight in order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor


SMALL = 2**16  # values; a smaller matrix costs nothing to form, and formed at once gives the bits of one product


class Way(NamedTuple):
    """How to multiply: by columns of the factors (`expand`), or by `rows` rows of the matrix at a time."""

    expand: bool
    rows: int


def way(weight: Tensor, r: int, tokens: int) -> Way:
    """The one place that decides, by device, dtype, shape, rank and tokens.

    `expand` multiplies W0 with r + 1 vectors per token, for (W0⊙(Ad·Au))x = Σ_k Ad[:,k] ⊙ (W0(Au[k]⊙x)), and reads W0
    once. Otherwise each block of rows is formed, which costs about as much as 16 tokens do in float32 and as 500 do
    in bfloat16, where the processor multiplies ten times faster but forms no faster.

    Measured on one thread of a Xeon with AMX, 2048×2048, r = 8, milliseconds for a forward pass (the bare product
    in brackets): float32, 1 token: expanded 1.3, formed 128 rows at a time 1.8, all at once 2.6 (0.6); 16 tokens:
    expanded 8.2, formed 256 rows at a time 4.0 (2.3). bfloat16, 16 tokens: expanded 1.6, formed 5.5 (0.7). More
    tokens: the product wants tall blocks, float32 at 1024 tokens: 128 rows 66, 256 rows 58, 512 rows 55.5, all at
    once 57.9 (53.7). On a GPU every block is a launch, and all rows go at once.
    """
    low = weight.dtype in (torch.bfloat16, torch.float16)
    if weight.numel() >= SMALL and tokens * (r + 1) <= (160 if low else 16):
        return Way(expand=True, rows=0)
    if weight.device.type != "cpu":
        return Way(expand=False, rows=len(weight))
    return Way(expand=False, rows=256 if tokens < 64 else 512)


class ScaledWeight:
    """V⊙(P·Q), with `plus_one` V⊙(1 + P·Q); V (p, q) is the stored weight, P (p, r) and Q (r, q) are the factors.

    With `plus_one` all are of one full precision: a small delta that is added to a low-precision W0 is lost.
    """

    def __init__(self, v: Tensor, p: Tensor, q: Tensor, *, plus_one: bool) -> None:
        self.v, self.p, self.q, self.plus_one = v, p, q, plus_one

    def way(self, x: Tensor) -> Way:
        return way(self.v, len(self.q), len(x))

    def to_rows(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """(t, q) → (t, p): x·(V⊙…)ᵀ + bias."""
        how = self.way(x)
        if how.expand:
            return _plus(self._add_up(_spread(x, self.q, self.plus_one) @ self.v.T, self.p), bias)
        out = x.new_empty(len(x), len(self.v))
        for rows, block in self._blocks(how.rows):
            if bias is None:
                torch.mm(x, block.T, out=out[:, rows])
            else:
                torch.addmm(bias.expand(len(self.v))[rows], x, block.T, out=out[:, rows])
        return out

    def to_columns(self, g: Tensor, bias: Tensor | None = None) -> Tensor:
        """(t, p) → (t, q): g·(V⊙…) + bias."""
        how = self.way(g)
        if how.expand:
            return _plus(self._add_up(_spread(g, self.p.T, self.plus_one) @ self.v, self.q.T), bias)
        out = None if bias is None else bias.expand(len(g), self.v.shape[1])
        for rows, block in self._blocks(how.rows):
            out = g[:, rows] @ block if out is None else torch.addmm(out, g[:, rows], block)
        assert out is not None
        return out

    def gradients(self, g: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """∂/∂P and ∂/∂Q of Σ g⊙to_rows(x), for (t, p) and (t, q): (p, r) and (r, q)."""
        how, dtype = self.way(x), self.p.dtype
        if how.expand:
            seen = (_spread(x, self.q) @ self.v.T).view(-1, *g.shape).to(dtype)  # (r, t, p)
            back = (_spread(g, self.p.T) @ self.v).view(-1, *x.shape).to(dtype)  # (r, t, q)
            return (seen * g).sum(1).T, (back * x).sum(1)
        of_p, of_q = torch.empty_like(self.p), torch.zeros_like(self.q)
        g = g.T.contiguous()  # or a bfloat16 product with its transpose takes half as long again
        for start in range(0, len(self.v), how.rows):
            rows = slice(start, start + how.rows)
            dense = torch.mm(g[rows], x).mul_(self.v[rows]).to(dtype)
            torch.mm(dense, self.q.T, out=of_p[rows])
            torch.addmm(of_q, self.p[rows].T, dense, out=of_q)
        return of_p, of_q

    def _blocks(self, step: int) -> Iterator[tuple[slice, Tensor]]:
        room = self.p.new_empty(min(step, len(self.v)), self.v.shape[1])
        for start in range(0, len(self.v), step):
            v = self.v[start : start + step]
            block = torch.mm(self.p[start : start + step], self.q, out=room[: len(v)]).to(v.dtype)
            out = torch.addcmul(v, v, block, out=block) if self.plus_one else block.mul_(v)
            yield slice(start, start + len(v)), out

    def _add_up(self, seen: Tensor, factor: Tensor) -> Tensor:
        """((r + 1)·t, n), (n, r) → (t, n): Σ_k factor[:,k] ⊙ seen[k], and with `plus_one` the last, which is W0's own."""
        r = factor.shape[1]
        seen = seen.view(r + self.plus_one, -1, len(factor))
        total = torch.einsum("ktn,nk->tn", seen[:r].to(factor.dtype), factor)
        return total.add_(seen[r]) if self.plus_one else total.to(seen.dtype)


def _spread(x: Tensor, factor: Tensor, also_plain: bool = False) -> Tensor:
    """(t, n), (r, n) → (r·t, n): x times each row of the factor, then x itself if asked."""
    rows = (x * factor[:, None]).to(x.dtype).flatten(0, 1)
    return torch.cat([rows, x]) if also_plain else rows


def _plus(out: Tensor, bias: Tensor | None) -> Tensor:
    return out if bias is None else out.add_(bias)
