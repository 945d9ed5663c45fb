"""A frozen weight, read a few rows at a time: as it is, in a wider precision, or multiplied by 1 + A or by A.

Elementwise lora-A needs W0⊙(1 + s·Ad·Au), or W0⊙(s·Ad·Au) alone. That matrix is as large as W0 and costs more to
write to memory than to form again, so it is formed a few rows at a time, used while it is in the cache, and formed
anew in the backward pass. With one or a few tokens it is not formed at all. A low-precision weight on a processor
without instructions for it is widened the same way (products.py). Everything here is in the layout in which
W0 is stored, V = P-rows × Q-columns, so that an `nn.Linear` (out × in) and a `Conv1D` (in × out) both read their
weight in order. What gives it to autograd is in products.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

LOW = (torch.bfloat16, torch.float16)
SMALL = 2**16  # values; a smaller matrix costs nothing to form, and formed at once gives the bits of one product
ROOMY = 2**20  # values of float32 that stay in a cache of a few MiB: formed at once, for one large product


class Blocking(NamedTuple):
    """How to multiply: by columns of the factors (`expand`), or by `rows` rows of the matrix at a time."""

    expand: bool
    rows: int


def blocking(weight: Tensor, r: int, tokens: int, wide: bool = False) -> Blocking:
    """The one place that decides, by device, dtype, shape, rank and tokens; `wide`: work is in float32 at any rate.

    `expand` multiplies W0 with r + 1 vectors per token, for (W0⊙(Ad·Au))x = Σ_k Ad[:,k] ⊙ (W0(Au[k]⊙x)), and reads W0
    once. Otherwise each block of rows is formed, which costs about as much as 16 tokens do in float32 and as 500 do
    in bfloat16, where the processor multiplies ten times faster but forms no faster.

    Measured on one thread of a Xeon with AMX, 2048×2048, r = 8, milliseconds for a forward pass (the bare product
    in brackets): float32, 1 token: expanded 1.3, formed 128 rows at a time 1.8, all at once 2.6 (0.6); 16 tokens:
    expanded 8.2, formed 256 rows at a time 4.0 (2.3). bfloat16, 16 tokens: expanded 1.6, formed 5.5 (0.7); 1024
    tokens: all at once 25, 256 rows 14 (8.5). float32, 1024 tokens, side by side in another run: 256 rows 71, 512
    rows 65, all at once 62 (60). On an EPYC without AVX-512, float32, forward, backward and gradients together:
    2048×2048, 256 tokens: 256 rows 91, 512 rows 98, all at once 101 (79); 1024 tokens: 256 rows 350, 512 rows 324,
    all at once 347 (306); 768×768, 1024 tokens: 256 rows 48, all at once 42 (42). On a GPU every block is a launch,
    and all rows go at once, in the base's own product, so that a delta of zero gives the base's bits; on a CPU
    products.py sees to that.
    """
    low = weight.dtype in LOW and not wide
    if weight.device.type != "cpu":
        return Blocking(low and weight.numel() >= SMALL and tokens * (r + 1) <= 160, len(weight))
    if weight.numel() >= SMALL and tokens * (r + 1) <= (160 if low else 16):
        return Blocking(expand=True, rows=0)
    if tokens >= 256 and not low and weight.numel() <= ROOMY:
        return Blocking(expand=False, rows=len(weight))
    return Blocking(expand=False, rows=512 if tokens >= 512 and not low else 256)


class StoredWeight:
    """V (p, q) as it is stored, multiplied in the precision `dtype`, which is V's own or a wider one."""

    r = 0

    def __init__(self, v: Tensor, dtype: torch.dtype) -> None:
        self.v, self.dtype = v, dtype

    def blocking(self, x: Tensor) -> Blocking:
        return Blocking(False, blocking(self.v, 0, max(len(x), 256), self.dtype is not self.v.dtype).rows)

    def to_rows(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        """(t, q) → (t, p): x·Vᵀ, plus a bias (p,), or added in place to what is there (t, p)."""
        how = self.blocking(x)
        if 8 <= len(x) < 64 and self.v.numel() >= SMALL and self.dtype not in LOW:
            columns, out = x.T.contiguous(), x.new_empty(len(self.v), len(x))  # this way round in half the time
            for rows, block in self._blocks(how.rows):
                torch.mm(block, columns, out=out[rows])
            return _plus(out.T.contiguous(), onto)
        if how.rows >= len(self.v) and (onto is None or onto.ndim == 1):
            return F.linear(x, next(self._blocks(how.rows))[1], onto)
        out = x.new_empty(len(x), len(self.v)) if onto is None or onto.ndim == 1 else onto
        for rows, block in self._blocks(how.rows):
            if onto is None:
                torch.mm(x, block.T, out=out[:, rows])
            else:
                torch.addmm(onto.expand_as(out)[:, rows], x, block.T, out=out[:, rows])
        return out

    def to_columns(self, g: Tensor, onto: Tensor | None = None) -> Tensor:
        """(t, p) → (t, q): g·V, plus a bias (q,), or added in place to what is there (t, q)."""
        out = onto if onto is not None and onto.ndim == 2 else g.new_empty(len(g), self.v.shape[1])
        for rows, block in self._blocks(self.blocking(g).rows):
            if onto is None:
                torch.mm(g[:, rows], block, out=out)
            else:
                torch.addmm(onto.expand_as(out), g[:, rows], block, out=out)
            onto = out
        return out

    def _blocks(self, rows: int) -> Iterator[tuple[slice, Tensor]]:
        room = self.v.new_empty(min(rows, len(self.v)), self.v.shape[1], dtype=self.dtype)
        for start in range(0, len(self.v), rows):
            v = self.v[start : start + rows]
            yield slice(start, start + len(v)), room[: len(v)].copy_(v)


class ScaledWeight(StoredWeight):
    """V⊙(P·Q), with `plus_one` V⊙(1 + P·Q); V (p, q) is the stored weight, P (p, r) and Q (r, q) are the factors.

    With `plus_one` the precision is full: a small delta that is added to a low-precision W0 is lost.
    """

    def __init__(self, v: Tensor, p: Tensor, q: Tensor, *, plus_one: bool, dtype: torch.dtype | None = None) -> None:
        super().__init__(v, dtype or v.dtype)
        self.p, self.q, self.plus_one, self.r = p, q, plus_one, len(q)

    def blocking(self, x: Tensor) -> Blocking:
        return blocking(self.v, self.r, len(x), self.dtype is not self.v.dtype)

    def to_rows(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        if self.blocking(x).expand:
            return _plus(self._add_up(self._all_rows(_spread(x, self.q, self.plus_one)), self.p), onto)
        return super().to_rows(x, onto)

    def to_columns(self, g: Tensor, onto: Tensor | None = None) -> Tensor:
        if self.blocking(g).expand:
            return _plus(self._add_up(self._all_columns(_spread(g, self.p.T, self.plus_one)), self.q.T), onto)
        return super().to_columns(g, onto)

    def gradients(self, g: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """∂/∂P and ∂/∂Q of Σ g⊙to_rows(x), for (t, p) and (t, q): (p, r) and (r, q)."""
        how, dtype = self.blocking(x), self.p.dtype
        if how.expand:
            seen = self._all_rows(_spread(x, self.q)).view(-1, *g.shape).to(dtype)  # (r, t, p)
            back = self._all_columns(_spread(g, self.p.T)).view(-1, *x.shape).to(dtype)  # (r, t, q)
            return (seen * g).sum(1).T, (back * x).sum(1)
        of_p, of_q = torch.empty_like(self.p), torch.zeros_like(self.q)
        room, wide = self._rooms(how.rows)
        if self.dtype in LOW:
            g = g.T.contiguous().T  # or a product with its transpose takes half as long again
        for start in range(0, len(self.v), how.rows):
            v, p = self.v[start : start + how.rows], self.p[start : start + how.rows]
            dense = torch.mm(g[:, start : start + how.rows].T, x, out=room[: len(v)]).mul_(v)
            dense = dense if wide is room else wide[: len(v)].copy_(dense)
            torch.mm(dense, self.q.T, out=of_p[start : start + how.rows])
            torch.addmm(of_q, p.T, dense, out=of_q)
        return of_p, of_q

    def _rooms(self, rows: int) -> tuple[Tensor, Tensor]:
        """Room for a block in the precision of the product and in that of the factors; one where these are the same."""
        shape = min(rows, len(self.v)), self.v.shape[1]
        room = self.v.new_empty(shape, dtype=self.dtype)
        return room, room if self.p.dtype is self.dtype else self.p.new_empty(shape)

    def _blocks(self, rows: int) -> Iterator[tuple[slice, Tensor]]:
        room, wide = self._rooms(rows)
        for start in range(0, len(self.v), rows):
            v = self.v[start : start + rows]
            block = torch.mm(self.p[start : start + rows], self.q, out=wide[: len(v)])
            block = block if wide is room else room[: len(v)].copy_(block)
            if self.plus_one and self.dtype is v.dtype:
                block = torch.addcmul(v, v, block, out=block)
            else:
                block = (block.add_(1) if self.plus_one else block).mul_(v)
            yield slice(start, start + len(v)), block

    def _add_up(self, seen: Tensor, factor: Tensor) -> Tensor:
        """((r + 1)·t, n), (n, r) → (t, n): Σ_k factor[:,k] ⊙ seen[k], and with `plus_one` W0's own, the last."""
        r = factor.shape[1]
        seen = seen.view(r + self.plus_one, -1, len(factor))
        total = (seen[:r] * factor.T[:, None]).sum(0)  # in the wider of the two precisions
        return total.add_(seen[r]) if self.plus_one else total.to(seen.dtype)

    def _all_rows(self, x: Tensor) -> Tensor:
        """x·Vᵀ for a few rows; of float32, 128 columns at a time: at once it would take half as long again."""
        if self.dtype is not self.v.dtype:
            return StoredWeight(self.v, self.dtype).to_rows(x)
        if self.dtype in LOW or self.v.device.type != "cpu":
            return x @ self.v.T
        out = x.new_empty(len(x), len(self.v))
        for start in range(0, len(self.v), 128):
            torch.mm(x, self.v[start : start + 128].T, out=out[:, start : start + 128])
        return out

    def _all_columns(self, g: Tensor) -> Tensor:
        """g·V for a few rows."""
        return g @ self.v if self.dtype is self.v.dtype else StoredWeight(self.v, self.dtype).to_columns(g)


def _spread(x: Tensor, factor: Tensor, also_plain: bool = False) -> Tensor:
    """(t, n), (r, n) → (r·t, n): x times each row of the factor, then x itself if asked."""
    rows = (x * factor[:, None]).to(x.dtype).flatten(0, 1)
    return torch.cat([rows, x]) if also_plain else rows


def _plus(out: Tensor, onto: Tensor | None) -> Tensor:
    if onto is None:
        return out
    return out.add_(onto) if onto.ndim == 1 else onto.add_(out)
