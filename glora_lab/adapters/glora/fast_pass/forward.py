"""GLoRA's layer, written out by hand: the forward half of what autograd.py gives to autograd as one function.

    y = (x + A_p·x)·W_effᵀ ⊙ (1 + a) + b_eff + (x·Buᵀ)·Bdᵀ     A_p: the product form; a: A vector or constant

W0 is multiplied once in each direction, what is small is added in place, and what is saved is what the gradients
need: x for low-rank paths, the base's output for A vector and constant. In low precision the paths are added in
float32 to what the base computed, and their sum is rounded once.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .elementwise import SMALL, ScaledWeight, StoredWeight
from .plan import LOW, Recipe
from .precision import FEW_ENOUGH

Factors = dict[str, tuple[Tensor, ...]]  # by letter: (Xd, Xu), or (X,)
FEW = 32  # tokens up to which reading W0 is the cost, so that a vector rides along with them


class Pass:
    """One pass over x (t, i). `saved` is filled by `forward`, for the gradients (backward.py).

    C is added to x where x is not needed without it (`c_in_input`), or is one more row that W0 multiplies (`c_as_row`).
    Where the precision is slow the pass is `widened`: x and W0 are taken in float32, and `full` holds.
    """

    def __init__(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, recipe: Recipe, flat: Sequence[Tensor], back: bool = False
    ) -> None:
        self.recipe, self.weight, self.flat, self.low = recipe, weight, flat, x.dtype
        self.w0 = weight.T if recipe.conv1d else weight  # (o, i)
        wide = [tensor.to(recipe.wide) for tensor in flat] if recipe.casts else flat
        self.factors: Factors = {letter: tuple(wide[start:stop]) for letter, start, stop in recipe.spans}
        self.saved: dict[str, Tensor] = {}
        self.widened = recipe.slow and (back or (self._many_products(x) and self._adds_something()))
        self.full = recipe.full or self.widened
        self.x = x.to(recipe.wide) if self.widened else x
        self.bias = bias.to(recipe.wide) if self.widened and bias is not None else bias
        few = recipe.has_c and len(x) <= FEW and not (recipe.elementwise and self.full)
        self.c_in_input = few and self.full and not recipe.scales_output
        self.c_as_row = few and not self.c_in_input and weight.numel() >= SMALL and weight.device.type == "cpu"

    def _many_products(self, x: Tensor) -> bool:
        return len(x) > FEW_ENOUGH or self.recipe.elementwise or self.recipe.changes_input

    def _adds_something(self) -> bool:
        return not all(is_zero(factor[0]) for factor in self.factors.values())

    @property
    def a(self) -> Tensor:
        """A vector or constant: (o,) or (1,), in the product form (i,)."""
        return self.factors["A"][0].view(-1)

    def scaled(self) -> ScaledWeight:
        """W0⊙A, in full precision W0 + W0⊙A, in the layout of the stored weight."""
        xd, xu = self.factors["A"] if self.full or self.low not in LOW else self.flat[:2]  # A comes first
        xd = xd if self.recipe.scaling == 1 else xd * self.recipe.scaling
        p, q = (xu.T, xd.T) if self.recipe.conv1d else (xd, xu)
        return ScaledWeight(self.weight, p, q, plus_one=self.full, dtype=self.x.dtype)

    def forward(self) -> Tensor:
        """(t, o) in x's precision."""
        recipe, z, of_c, rides = self.recipe, self._input(), None, False
        if recipe.has_c and not self.c_in_input:
            c = self._c()
            rides = self.c_as_row and not is_zero(c)
            if rides:
                z = torch.cat([z, c.to(z.dtype).view(1, -1)])
            else:
                of_c = self._base(c.view(1, -1).to(z.dtype)).view(-1).to(recipe.wide)
        if self.full and recipe.elementwise and not is_zero(self.factors["A"][0]):
            y = self._by_scaled(z, _sum(self.bias, self._added_bias(of_c)))
        elif self.full and not recipe.scales_output and (self.bias is not None or recipe.elementwise):
            y = self._base(z, _sum(self.bias, self._added_bias(of_c)))
        else:
            y = self._base(z, self.bias)
            if rides:
                y, of_c = y[:-1], y[-1].to(recipe.wide)
                if self.bias is not None and not recipe.scales_output:
                    of_c = of_c - self.bias
            y = self._beside(y, self._added_bias(of_c, rides))
        y = self._plus_b(y) if "B" in self.factors else y
        return y if y.dtype is self.low else y.to(self.low)

    def _base(self, z: Tensor, bias: Tensor | None = None) -> Tensor:
        """W0·z + bias: (t, i) → (t, o)."""
        if not self.widened:
            return F.linear(z, self.w0, bias)
        weight = StoredWeight(self.weight, z.dtype)
        return (weight.to_columns if self.recipe.conv1d else weight.to_rows)(z, bias)

    def _c(self) -> Tensor:
        """(i,)"""
        c = self.factors["C"]
        return torch.mv(c[0], c[1].view(-1)).mul_(self.recipe.scaling) if len(c) == 2 else c[0].view(-1)

    def _input(self) -> Tensor:
        """x, or in full precision x + A·x + C, where these can be added before W0 is multiplied."""
        z = self.x
        if self.recipe.changes_input and len(self.factors["A"]) == 2:
            xd, xu = self.factors["A"]
            self.saved["reduced"] = F.linear(z.to(self.recipe.wide), xu)  # (t, r)
            if self.full:
                z = torch.addmm(z, self.saved["reduced"], xd.T, alpha=self.recipe.scaling)
        elif self.recipe.changes_input and self.full:
            z = torch.addcmul(z, z, self.a)
        return z + self._c() if self.c_in_input else z

    def _beside(self, result: Tensor, added: Tensor | None) -> Tensor:
        """What the base computed, in the wide precision, with what A, C, D and E add to it."""
        y = result if self.full else result.to(self.recipe.wide)
        if self.recipe.scales_output:
            self.saved["result"] = result.to(self.low) if self.widened else result
            return y * (1 + self.a) if added is None else torch.addcmul(added, y, 1 + self.a)
        if self.recipe.elementwise:
            if added is None and "B" not in self.factors:
                return self._by_scaled(self.x, result)  # nothing else is added, and this rounds once
            y = y.add_(self._by_scaled(self.x).to(self.recipe.wide))
        if self.recipe.changes_input and not self.full:
            y = y.add_(self._product_delta().to(self.recipe.wide))
        return y if added is None else y + added

    def _by_scaled(self, z: Tensor, onto: Tensor | None = None) -> Tensor:
        scaled = self.scaled()
        return (scaled.to_columns if self.recipe.conv1d else scaled.to_rows)(z, onto)

    def _product_delta(self) -> Tensor:
        """W0·A·x on its own (t, o): few tokens go through W0 themselves, otherwise A's columns do, once for all."""
        if len(self.factors["A"]) == 1:
            return (self.x * self.a).to(self.x.dtype) @ self.w0.T
        xd, reduced = self.factors["A"][0], self.saved["reduced"] * self.recipe.scaling
        if len(reduced) < xd.shape[1]:
            return (reduced @ xd.T).to(self.x.dtype) @ self.w0.T
        return reduced @ (xd.T.to(self.x.dtype) @ self.w0.T).to(self.recipe.wide)

    def _added_bias(self, of_c: Tensor | None, holds_bias: bool = False) -> Tensor | None:
        """W0·C + b0⊙D + E, less b0⊙A where A scales an output that holds b0, as `of_c` may too."""
        added, e = of_c, self.factors.get("E")
        if e is not None:
            added = e[0] if added is None else added + e[0]
        if self.bias is None:
            return added
        d = self.factors.get("D")
        times = None if d is None else d[0]
        if self.recipe.scales_output:
            less = 1 + self.a if holds_bias else self.a
            times = -less if times is None else times - less
        if times is None:
            return added
        return self.bias * times if added is None else torch.addcmul(added, self.bias, times)

    def _plus_b(self, y: Tensor) -> Tensor:
        b, room = self.factors["B"], None if torch.is_grad_enabled() else y  # autograd follows no `out`
        if len(b) == 2:
            h = self.saved["latent"] = F.linear(self.x if self.full else self.x.to(self.recipe.wide), b[1])  # (t, r)
            return torch.addmm(y, h, b[0].T, alpha=self.recipe.scaling, out=room)
        sums = self.saved["sums"] = self.x.sum(-1, keepdim=True, dtype=self.recipe.wide)  # (t, 1)
        return torch.addcmul(y, sums, b[0].view(-1), out=room)


def is_zero(factor: Tensor) -> bool:
    """Whether a factor is as it starts, so that the output has to be the base's, bit for bit.

    A product of more rows, or in blocks, is rounded in another order. On a GPU, where the answer would have to be
    waited for, such products are not used (`c_as_row` above, and elementwise.py).
    """
    return factor.device.type == "cpu" and not (factor.view(-1)[0].item() or factor.count_nonzero())


def _sum(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    return other if one is None else one if other is None else one + other
