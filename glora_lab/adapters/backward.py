"""The backward half of by_hand.py: from ∂L/∂y to the gradients of x and of every path, with one product with W0.

Everything that W0 is multiplied with rides in that product, and the product form's gradients come from it too:
with z = x + A·x and y = W0·z, ∂L/∂A is ∂L/∂z·xᵀ, so that no path needs W0 a second time.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .by_hand import Factors, Pass


class BackwardPass(Pass):
    """The same pass on its way back, with what the way there has `kept`."""

    def gradients(self, g: Tensor, x_too: bool) -> tuple[Tensor | None, tuple[Tensor, ...]]:
        """From ∂L/∂y (t, o): ∂L/∂x, if asked, and ∂L/∂ of every tensor, in order."""
        of = Factors()
        total = g.sum(0, dtype=self.wide) if set("CDE") & set(self.factors) or self.scales_output else None
        gz = self._through_base(g, total, x_too, of)
        gx = self._through_a(gz, g, of)
        if "B" in self.factors:
            gx = self._through_b(gx if x_too else None, g if self.full else g.to(self.wide), of)
        if "D" in self.factors:
            of["D"] = (self.bias * total,)  # type: ignore[operator]
        if total is not None:
            of["E"] = (total,)
        flat = [t for letter, _ in self.recipe.paths for t in of[letter]]
        back = tuple(_like(grad, tensor) for grad, tensor in zip(flat, self.flat, strict=True))
        return None if gx is None or not x_too else gx if self.full else gx.to(self.x.dtype), back

    def _through_base(self, g: Tensor, total: Tensor | None, x_too: bool, of: Factors) -> Tensor | None:
        """∂L/∂(x + A_p·x); sets C's gradient, W0ᵀ·Σg, which rides along."""
        if self.scales_output:
            assert total is not None
            of["A"] = ((g * self.kept["result"]).sum(0, dtype=self.wide),)
            if self.bias is not None:
                of["A"] = (of["A"][0] - self.bias * total,)
            g = torch.addcmul(g, g, self.a.to(g.dtype))  # rounded once, and no small a is lost in 1 + a
        gz, rides = None, self.rides_c and x_too
        if x_too or self.changes_input or self.joins_c:
            gz = self._back(torch.cat([g, total[None].to(g.dtype)]) if rides else g, len(g))  # type: ignore[index]
        if "C" in self.factors:
            assert total is not None
            alone = gz is None or not (rides or self.joins_c)
            dc = total.to(g.dtype) @ self.w0 if alone else gz[-1] if rides else gz.sum(0)  # type: ignore
            of["C"] = self._of_c(dc.to(self.wide))
        if gz is not None and rides:
            gz = gz[:-1]
        return gz

    def _back(self, rows: Tensor, tokens: int) -> Tensor:
        """W_effᵀ·g, without what B adds, of the first `tokens` rows; W0ᵀ·g of one that rides along: (t, o) → (t, i)."""
        if not self.elementwise:
            return rows @ self.w0
        back = self.scaled.to_rows if self.recipe.conv1d else self.scaled.to_columns
        if self.full:
            return back(rows)
        base = rows @ self.w0
        back(rows[:tokens], base[:tokens])  # adds in place
        return base

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
        x, gz = self.x.to(self.wide), gz.to(self.wide)
        if len(self.factors["A"]) == 1:
            of["A"] = ((gz * x).sum(0),)
            return torch.addcmul(gz, gz, self.a)
        xd, xu = self.factors["A"]
        back = (gz @ xd) * self.recipe.scaling  # (t, r)
        of["A"] = ((gz.T @ self.kept["reduced"]) * self.recipe.scaling, back.T @ x)
        return torch.addmm(gz, back, xu)

    def _through_b(self, gx: Tensor | None, wide: Tensor, of: Factors) -> Tensor | None:
        b, gx = self.factors["B"], gx if gx is None or self.full else gx.to(self.wide)
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


def _like(gradient: Tensor, tensor: Tensor) -> Tensor:
    """The gradient in the tensor's shape and precision; of one number that was used for many, their sum."""
    if gradient.numel() != tensor.numel():
        gradient = gradient.sum()
    if gradient.shape != tensor.shape:
        gradient = gradient.view(tensor.shape)
    return gradient if gradient.dtype is tensor.dtype else gradient.to(tensor.dtype)
