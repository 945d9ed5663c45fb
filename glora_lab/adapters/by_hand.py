"""GLoRA's layer forward and backward, written out by hand: what one_pass.py gives to autograd as one function.

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
    """One pass over x (t, i). `kept` is filled by `forward` and read by `gradients`.

    Three kinds of A: it `scales_output`, (W0⊙a)x = a⊙(W0·x), in modes vector and constant; it `changes_input`, the
    product form W0·A·x; or it is `elementwise` and low-rank, and changes W0. Work is in the precision `wide`, and is
    `full` where that is x's own: then nothing is lost where W0 and a delta are added before the product. C is added
    to x where x is not needed without it (`joins_c`), or is one more row that W0 multiplies (`rides_c`).
    """

    def __init__(self, x: Tensor, weight: Tensor, bias: Tensor | None, recipe: Recipe, flat: Sequence[Tensor]) -> None:
        self.x, self.weight, self.bias, self.recipe, self.flat = x, weight, bias, recipe, flat
        self.w0 = weight.T if recipe.conv1d else weight  # (o, i)
        self.wide = dtype = x.dtype
        self.full = dtype in FULL
        for tensor in flat:
            self.full = self.full and tensor.dtype is dtype
        if not self.full:
            self.wide = functools.reduce(torch.promote_types, [t.dtype for t in flat], torch.float32)
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
        self.rides_c = few and not self.joins_c and not in_w0 and weight.numel() >= SMALL

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
        xd, xu = self.flat[0] * self.recipe.scaling, self.flat[1]  # A comes first
        p, q = (xu.T, xd.T) if self.recipe.conv1d else (xd, xu)
        return ScaledWeight(self.weight, p, q, plus_one=self.full)

    def forward(self) -> Tensor:
        """(t, o) in x's precision."""
        z, of_c = self._input(), None
        if self.rides_c:
            z = torch.cat([z, self.c[None].to(z.dtype)])
        elif "C" in self.factors and not self.joins_c:
            of_c = (self.w0 @ self.c.to(self.w0.dtype)).to(self.wide)
        if self.full and self.elementwise:
            bias = _sum(self.bias, self._added_bias(of_c))
            y = self.scaled.to_columns(z, bias) if self.recipe.conv1d else self.scaled.to_rows(z, bias)
        elif self.full and not self.scales_output and self.bias is not None:
            y = F.linear(z, self.w0, _sum(self.bias, self._added_bias(of_c)))
        else:
            y = F.linear(z, self.w0, self.bias)
            if self.rides_c:
                y, rider = y.split([self.x.shape[0], 1])
                of_c = rider[0].to(self.wide)
            y = self._beside(y, self._added_bias(of_c))
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
            delta = self.scaled.to_columns(self.x) if self.recipe.conv1d else self.scaled.to_rows(self.x)
            y = y.add_(delta.to(self.wide))
        if self.changes_input and not self.full:
            y = y.add_(self._product_delta().to(self.wide))
        return y if added is None else y + added

    def _product_delta(self) -> Tensor:
        """W0·A·x on its own (t, o): few tokens go through W0 themselves, otherwise A's columns do, once for all."""
        if len(self.factors["A"]) == 1:
            return (self.x * self.a).to(self.x.dtype) @ self.w0.T
        xd, reduced = self.factors["A"][0], self.kept["reduced"] * self.recipe.scaling
        if len(reduced) < xd.shape[1]:
            return (reduced @ xd.T).to(self.x.dtype) @ self.w0.T
        return reduced @ (xd.T.to(self.x.dtype) @ self.w0.T).to(self.wide)

    def _added_bias(self, of_c: Tensor | None) -> Tensor | None:
        """W0·C + b0⊙D + E, less b0⊙A where A scales an output that holds b0, and less b0 where `of_c` holds it."""
        added, e = of_c, self.factors.get("E")
        if e is not None:
            added = e[0] if added is None else added + e[0]
        if self.bias is None:
            return added
        d = self.factors.get("D")
        times = None if d is None else d[0]
        if self.scales_output or self.rides_c:
            less = 1 if not self.scales_output else self.gain if self.rides_c else self.a
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

    def gradients(self, g: Tensor, x_too: bool) -> tuple[Tensor | None, tuple[Tensor, ...]]:
        """From ∂L/∂y (t, o): ∂L/∂x, if asked, and ∂L/∂ of every tensor, in order."""
        wide, of = g if self.full else g.to(self.wide), Factors()
        total = wide.sum(0) if set("CDE") & set(self.factors) or self.scales_output else None
        gz = self._through_base(g, wide, total, x_too, of)
        gx = self._through_a(gz, g, of)
        if "B" in self.factors:
            gx = self._through_b(gx if x_too else None, wide, of)
        if "D" in self.factors:
            of["D"] = (self.bias * total,)  # type: ignore[operator]
        if total is not None:
            of["E"] = (total,)
        flat = [t for letter, _ in self.recipe.paths for t in of[letter]]
        back = tuple(_like(grad, tensor) for grad, tensor in zip(flat, self.flat, strict=True))
        return None if gx is None or not x_too else gx if self.full else gx.to(self.x.dtype), back

    def _through_base(self, g: Tensor, wide: Tensor, total: Tensor | None, x_too: bool, of: Factors) -> Tensor | None:
        """∂L/∂(x + A_p·x), in the wide precision; sets C's gradient, W0ᵀ·Σg, which rides along."""
        if self.scales_output:
            assert total is not None
            of["A"] = ((wide * self.kept["result"]).sum(0),)
            if self.bias is not None:
                of["A"] = (of["A"][0] - self.bias * total,)
            g = (wide * self.gain).to(g.dtype)
        gz, rides = None, self.rides_c and x_too
        if x_too or self.changes_input or self.joins_c:
            gz = self._back(torch.cat([g, total[None].to(g.dtype)]) if rides else g)  # type: ignore[index]
        if "C" in self.factors:
            assert total is not None
            if self.joins_c:
                dc = gz.sum(0)  # type: ignore[union-attr]
            else:
                dc = gz[-1] if rides else total.to(g.dtype) @ self.w0  # type: ignore[index]
            of["C"] = self._of_c(dc.to(self.wide))
        if gz is not None and rides:
            gz = gz[:-1]
        return gz if gz is None or self.full else gz.to(self.wide)

    def _back(self, rows: Tensor) -> Tensor:
        """W_effᵀ·g, without what B adds: (t, o) → (t, i)."""
        if not self.elementwise:
            return rows @ self.w0
        scaled = self.scaled.to_rows(rows) if self.recipe.conv1d else self.scaled.to_columns(rows)
        return scaled if self.full else scaled + rows @ self.w0

    def _through_a(self, gz: Tensor | None, g: Tensor, of: Factors) -> Tensor | None:
        """∂L/∂x, without what B adds; sets A's gradient where it is low-rank or changes the input."""
        if self.elementwise:
            x = self.x
            if self.recipe.conv1d:
                of_xu, of_xd = self.scaled.gradients(x, g)
                of["A"] = (of_xd.T * self.recipe.scaling, of_xu.T)
            else:
                of_xd, of_xu = self.scaled.gradients(g, x)
                of["A"] = (of_xd * self.recipe.scaling, of_xu)
        if not self.changes_input:
            return gz
        assert gz is not None
        x = self.x.to(self.wide)
        if len(self.factors["A"]) == 1:
            of["A"] = ((gz * x).sum(0),)
            return torch.addcmul(gz, gz, self.a)
        xd, xu = self.factors["A"]
        back = (gz @ xd) * self.recipe.scaling  # (t, r)
        of["A"] = ((gz.T @ self.kept["reduced"]) * self.recipe.scaling, back.T @ x)
        return torch.addmm(gz, back, xu)

    def _through_b(self, gx: Tensor | None, wide: Tensor, of: Factors) -> Tensor | None:
        b = self.factors["B"]
        if len(b) == 1:
            v, sums = b[0].view(-1), self.kept["sums"]
            of["B"] = ((wide.T @ sums).view(-1),)
            return None if gx is None else gx.add_((wide @ v.expand(wide.shape[1]))[:, None])
        back = (wide @ b[0]) * self.recipe.scaling  # (t, r)
        of["B"] = ((wide.T @ self.kept["latent"]) * self.recipe.scaling, back.T @ self.x.to(self.wide))
        return None if gx is None else torch.addmm(gx, back, b[1], out=gx)

    def _of_c(self, dc: Tensor) -> tuple[Tensor, ...]:
        c = self.factors["C"]
        if len(c) == 1:
            return (dc,)
        dc = dc * self.recipe.scaling
        return dc[:, None] @ c[1].T, c[0].T @ dc[:, None]


def _sum(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    return other if one is None else one if other is None else one + other


def _like(gradient: Tensor, tensor: Tensor) -> Tensor:
    """The gradient in the tensor's shape and precision; of one number that was used for many, their sum."""
    if gradient.numel() != tensor.numel():
        gradient = gradient.sum()
    if gradient.shape != tensor.shape:
        gradient = gradient.view(tensor.shape)
    return gradient if gradient.dtype is tensor.dtype else gradient.to(tensor.dtype)
