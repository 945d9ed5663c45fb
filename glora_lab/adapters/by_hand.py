"""GLoRA's layer, written out by hand: the forward half of what one_pass.py gives to autograd as one function.

    y = (x + A_p·x)·W_effᵀ ⊙ (1 + a) + b_eff + (x·Buᵀ)·Bdᵀ     A_p: the product form; a: A vector or constant

W0 is multiplied once in each direction, what is small is added in place, and what is kept is what the gradients
need: x for low-rank paths, the base's output for A vector and constant. In low precision the paths are added in
float32 to what the base computed, and their sum is rounded once.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .scaled_weight import SMALL, ScaledWeight

Factors = dict[str, tuple[Tensor, ...]]  # by letter: (Xd, Xu), or (X,)
FEW = 32  # tokens up to which reading W0 is the cost, so that a vector rides along with them
FULL = (torch.float32, torch.float64)


class Recipe(NamedTuple):
    """What is fixed between a forward and its backward pass. `paths` is each letter and how many tensors it has."""

    paths: tuple[tuple[str, int], ...]
    product: bool  # A's form
    scaling: float
    conv1d: bool  # W0 is stored as (in, out)


class Pass:
    """One pass over x (t, i). `kept` is filled by `forward`, for the gradients (backward.py).

    Three kinds of A: it `scales_output`, (W0⊙a)x = a⊙(W0·x), in modes vector and constant; it `changes_input`, the
    product form W0·A·x; or it is `elementwise` and low-rank, and changes W0. Work is in the precision `wide`, and is
    `full` where that is x's own: then nothing is lost where W0 and a delta are added before the product. C is added
    to x where x is not needed without it (`joins_c`), or is one more row that W0 multiplies (`rides_c`).
    """

    def __init__(self, x: Tensor, weight: Tensor, bias: Tensor | None, recipe: Recipe, flat: Sequence[Tensor]) -> None:
        self.x, self.weight, self.bias, self.recipe, self.flat = x, weight, bias, recipe, flat
        self.w0 = weight.T if recipe.conv1d else weight  # (o, i)
        low = torch.float32 if x.dtype not in FULL else x.dtype
        self.wide = functools.reduce(torch.promote_types, [tensor.dtype for tensor in flat], low)
        self.full = self.wide is x.dtype
        flat = [tensor.to(self.wide) for tensor in flat]
        self.kept: dict[str, Tensor] = {}
        self.factors, start = Factors(), 0
        for letter, count in recipe.paths:
            self.factors[letter] = tuple(flat[start : start + count])
            start += count
        a = self.factors.get("A")
        lora = a is not None and len(a) == 2
        self.changes_input = recipe.product and a is not None and (lora or a[0].numel() > 1)
        self.scales_output = a is not None and not lora and not self.changes_input
        self.elementwise = lora and not recipe.product
        few = "C" in self.factors and x.shape[0] <= FEW
        in_w0 = self.elementwise and self.full
        self.joins_c = few and self.full and not self.scales_output and not in_w0
        rides = few and not self.joins_c and not in_w0 and weight.numel() >= SMALL
        self.rides_c = rides and weight.device.type == "cpu"

    @property
    def needs_x(self) -> bool:
        """Whether the gradients need x."""
        return self.elementwise or self.changes_input or len(self.factors.get("B", ())) == 2

    @cached_property
    def a(self) -> Tensor:
        """A vector or constant: (o,) or (1,), in the product form (i,)."""
        return self.factors["A"][0].view(-1)

    @cached_property
    def gain(self) -> Tensor:
        return 1 + self.a

    @cached_property
    def c(self) -> Tensor:
        """(i,)"""
        c = self.factors["C"]
        return torch.mv(c[0], c[1].view(-1)) * self.recipe.scaling if len(c) == 2 else c[0].view(-1)

    @cached_property
    def scaled(self) -> ScaledWeight:
        """W0⊙A, in full precision W0 + W0⊙A, in the layout of the stored weight."""
        xd, xu = self.factors["A"] if self.x.dtype in FULL else self.flat[:2]  # A comes first
        xd = xd * self.recipe.scaling
        p, q = (xu.T, xd.T) if self.recipe.conv1d else (xd, xu)
        return ScaledWeight(self.weight, p, q, plus_one=self.full)

    def forward(self) -> Tensor:
        """(t, o) in x's precision."""
        z, of_c = self._input(), None
        rides = self.rides_c and not is_zero(self.c)
        if rides:
            z = torch.cat([z, self.c[None].to(z.dtype)])
        elif "C" in self.factors and not self.joins_c:
            of_c = (self.w0 @ self.c.to(self.w0.dtype)).to(self.wide)
        if self.full and self.elementwise and not is_zero(self.factors["A"][0]):
            y = self._by_scaled(z, _sum(self.bias, self._added_bias(of_c)))
        elif self.full and not self.scales_output and (self.bias is not None or self.elementwise):
            y = F.linear(z, self.w0, _sum(self.bias, self._added_bias(of_c)))
        else:
            y = F.linear(z, self.w0, self.bias)
            if rides:
                y, rider = y.split([self.x.shape[0], 1])
                of_c = rider[0].to(self.wide)
                if self.bias is not None and not self.scales_output:
                    of_c = of_c - self.bias
            y = self._beside(y, self._added_bias(of_c, rides))
        y = self._plus_b(y) if "B" in self.factors else y
        return y if self.full else y.to(self.x.dtype)

    def _input(self) -> Tensor:
        """x, or in full precision x + A·x + C, where these can be added before W0 is multiplied."""
        z = self.x
        if self.changes_input and len(self.factors["A"]) == 2:
            xd, xu = self.factors["A"]
            self.kept["reduced"] = F.linear(z.to(self.wide), xu)  # (t, r)
            if self.full:
                z = torch.addmm(z, self.kept["reduced"], xd.T, alpha=self.recipe.scaling)
        elif self.changes_input and self.full:
            z = torch.addcmul(z, z, self.a)
        return z + self.c if self.joins_c else z

    def _beside(self, result: Tensor, added: Tensor | None) -> Tensor:
        """What the base computed, in the wide precision, with what A, C, D and E add to it."""
        y = result if self.full else result.to(self.wide)
        if self.scales_output:
            self.kept["result"] = result
            return y * self.gain if added is None else torch.addcmul(added, y, self.gain)
        if self.elementwise:
            if added is None and "B" not in self.factors:
                return self._by_scaled(self.x, result)  # nothing else is added, and this rounds once
            y = y.add_(self._by_scaled(self.x).to(self.wide))
        if self.changes_input and not self.full:
            y = y.add_(self._product_delta().to(self.wide))
        return y if added is None else y + added

    def _by_scaled(self, z: Tensor, onto: Tensor | None = None) -> Tensor:
        return (self.scaled.to_columns if self.recipe.conv1d else self.scaled.to_rows)(z, onto)

    def _product_delta(self) -> Tensor:
        """W0·A·x on its own (t, o): few tokens go through W0 themselves, otherwise A's columns do, once for all."""
        if len(self.factors["A"]) == 1:
            return (self.x * self.a).to(self.x.dtype) @ self.w0.T
        xd, reduced = self.factors["A"][0], self.kept["reduced"] * self.recipe.scaling
        if len(reduced) < xd.shape[1]:
            return (reduced @ xd.T).to(self.x.dtype) @ self.w0.T
        return reduced @ (xd.T.to(self.x.dtype) @ self.w0.T).to(self.wide)

    def _added_bias(self, of_c: Tensor | None, holds_bias: bool = False) -> Tensor | None:
        """W0·C + b0⊙D + E, less b0⊙A where A scales an output that holds b0, as `of_c` may too."""
        added, e = of_c, self.factors.get("E")
        if e is not None:
            added = e[0] if added is None else added + e[0]
        if self.bias is None:
            return added
        d = self.factors.get("D")
        times = None if d is None else d[0]
        if self.scales_output:
            less = self.gain if holds_bias else self.a
            times = -less if times is None else times - less
        if times is None:
            return added
        return self.bias * times if added is None else torch.addcmul(added, self.bias, times)

    def _plus_b(self, y: Tensor) -> Tensor:
        b, room = self.factors["B"], None if torch.is_grad_enabled() else y  # autograd follows no `out`
        if len(b) == 2:
            h = self.kept["latent"] = F.linear(self.x if self.full else self.x.to(self.wide), b[1])  # (t, r)
            return torch.addmm(y, h, b[0].T, alpha=self.recipe.scaling, out=room)
        sums = self.kept["sums"] = self.x.sum(-1, keepdim=True, dtype=self.wide)  # (t, 1)
        return torch.addcmul(y, sums, b[0].view(-1), out=room)


def is_zero(factor: Tensor) -> bool:
    """Whether a factor is as it starts, so that the output has to be the base's, bit for bit.

    A product of more rows, or in blocks, is rounded in another order. On a GPU, where the answer would have to be
    waited for, such products are not used (`rides_c` above, and scaled_weight.py).
    """
    return factor.device.type == "cpu" and not (factor[:1].count_nonzero() or factor.count_nonzero())


def _sum(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    return other if one is None else one if other is None else one + other
