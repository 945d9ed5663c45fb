"""The backward half of forward.py: from ∂L/∂y to the gradients of x and of every path, with one product with W0.

Everything that W0 is multiplied with rides in that product, and the product form's gradients come from it too:
with z = x + A·x and y = W0·z, ∂L/∂A is ∂L/∂z·xᵀ, so that no path needs W0 a second time.

`plainly`, every operation is one that autograd follows, for a gradient of the gradient, and that takes a batch of
gradients at once (`is_grads_batched`, torch.vmap): nothing is written into room that was made for it, and no matrix
is taken in blocks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .elementwise import ScaledWeight, StoredWeight, WholeWeight
from .forward import Factors, Pass
from .plan import Recipe


class BackwardPass(Pass):
    """The same pass on its way back, with what the way there has `saved`."""

    def __init__(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        recipe: Recipe,
        flat: Sequence[Tensor],
        saved: dict[str, Tensor],
        plainly: bool = False,
    ) -> None:
        super().__init__(x, weight, bias, recipe._replace(slow=False) if plainly else recipe, flat, back=True)
        self.plainly = plainly
        self.saved = self._anew(saved) if torch.is_grad_enabled() and recipe.needs_x else saved

    def _anew(self, saved: dict[str, Tensor]) -> dict[str, Tensor]:
        """What the way there has saved, as functions of x that autograd follows."""
        x = self.x.to(self.recipe.wide)
        again = {
            "reduced": lambda: F.linear(x, self.factors["A"][1]),
            "latent": lambda: F.linear(x, self.factors["B"][1]),
            "sums": lambda: x.sum(-1, keepdim=True),
            "result": lambda: self._base(self.x, self.bias),
        }
        return {name: again[name]() for name in saved}

    def gradients(self, g: Tensor, x_too: bool) -> tuple[Tensor | None, tuple[Tensor, ...]]:
        """From ∂L/∂y (t, o): ∂L/∂x, if asked, and ∂L/∂ of every tensor, in order."""
        recipe, of = self.recipe, Factors()
        g = g.to(recipe.wide) if self.widened else g
        total = self._total(g) if recipe.needs_total else None
        gz = self._through_base(g, total, x_too, of)
        gx = self._through_a(gz, g, of)
        if "B" in self.factors:
            gx = self._through_b(gx if x_too else None, g if self.full else g.to(recipe.wide), of)
        if "D" in self.factors:
            of["D"] = (self.bias * total,)  # type: ignore[operator]
        if "E" in self.factors:  # g may belong to others, and a gradient is changed in place
            assert total is not None
            of["E"] = (total.clone() if len(g) == 1 else total,)
        flat = [tensor for letter, _, _ in recipe.spans for tensor in of[letter]]
        back = tuple(map(_like, flat, self.flat))
        return None if gx is None or not x_too else gx if gx.dtype is self.low else gx.to(self.low), back

    def through_saved(self, gx: Tensor, of: dict[str, Tensor | None]) -> Tensor:
        """`gx` and what comes back through the base's output and through Σx, which stand in for x."""
        for name, g in of.items():
            if g is not None:
                gx = gx + (self._base_back(g) if name == "result" else g).to(gx.dtype)
        return gx

    def scaled(self) -> ScaledWeight:
        scaled = super().scaled()
        return WholeWeight.of(scaled) if self.plainly else scaled

    def _total(self, g: Tensor) -> Tensor:
        """∂L/∂y summed over tokens, (o,) in the wide precision; it may be g's own memory."""
        return g[0] if len(g) == 1 and self.full else g.sum(0, dtype=self.recipe.wide)

    def _through_base(self, g: Tensor, total: Tensor | None, x_too: bool, of: Factors) -> Tensor | None:
        """∂L/∂(x + A_p·x); sets C's gradient, W0ᵀ·Σg, which rides along."""
        if self.recipe.scales_output:
            assert total is not None
            result = self.saved["result"]
            of_a = g[0] * result[0] if total.dtype is result.dtype and len(g) == 1 else self._total(g * result)
            of["A"] = (of_a if self.bias is None else torch.addcmul(of_a, self.bias, total, value=-1),)
            g = torch.addcmul(g, g, self.a.to(g.dtype))  # rounded once, and no small a is lost in 1 + a
        gz, rides = None, self.c_as_row and x_too
        if x_too or self.recipe.changes_input or self.c_in_input:
            gz = self._back(torch.cat([g, total[None].to(g.dtype)]) if rides else g, len(g))  # type: ignore[index]
        if self.recipe.has_c:
            assert total is not None
            alone = gz is None or not (rides or self.c_in_input)
            dc = self._base_back(total.to(g.dtype).view(1, -1))[0] if alone else gz[-1] if rides else gz.sum(0)  # type: ignore
            of["C"] = self._of_c(dc.to(self.recipe.wide))
        return gz[:-1] if gz is not None and rides else gz

    def _base_back(self, rows: Tensor) -> Tensor:
        """W0ᵀ·g: (t, o) → (t, i)."""
        if not self.widened:
            return rows @ self.w0
        weight = StoredWeight(self.weight, rows.dtype)
        return weight.to_rows(rows) if self.recipe.conv1d else weight.to_columns(rows)

    def _back(self, rows: Tensor, tokens: int) -> Tensor:
        """W_effᵀ·g, without what B adds, of the first `tokens` rows; W0ᵀ·g of one that rides along: (t, o) → (t, i)."""
        if not self.recipe.elementwise:
            return self._base_back(rows)
        scaled = self.scaled()
        back = scaled.to_rows if self.recipe.conv1d else scaled.to_columns
        if self.full:
            return back(rows)
        base = self._base_back(rows)
        back(rows[:tokens], base[:tokens])  # adds in place
        return base

    def _through_a(self, gz: Tensor | None, g: Tensor, of: Factors) -> Tensor | None:
        """∂L/∂x, without what B adds; sets A's gradient where it is low-rank or changes the input."""
        scaling = self.recipe.scaling
        if self.recipe.elementwise:
            scaled = self.scaled()
            if self.recipe.conv1d:
                of_xu, of_xd = scaled.gradients(self.x, g)
                of["A"] = (of_xd.T * scaling, of_xu.T)
            else:
                of_xd, of_xu = scaled.gradients(g, self.x)
                of["A"] = (of_xd.mul_(scaling), of_xu)
        if not self.recipe.changes_input:
            return gz
        assert gz is not None
        x, gz = self.x.to(self.recipe.wide), gz.to(self.recipe.wide)
        if len(self.factors["A"]) == 1:
            of["A"] = ((gz * x).sum(0),)
            return torch.addcmul(gz, gz, self.a)
        xd, xu = self.factors["A"]
        back = (gz @ xd).mul_(scaling)  # (t, r)
        of["A"] = ((gz.T @ self.saved["reduced"]).mul_(scaling), back.T @ x)
        return torch.addmm(gz, back, xu)

    def _through_b(self, gx: Tensor | None, wide: Tensor, of: Factors) -> Tensor | None:
        b, gx = self.factors["B"], gx if gx is None or self.full else gx.to(self.recipe.wide)
        if len(b) == 1:
            v, sums = b[0].view(-1), self.saved["sums"]
            of["B"] = (wide[0] * sums[0] if len(wide) == 1 else torch.mv(wide.T, sums.view(-1)),)
            return None if gx is None else gx.add_(torch.mv(wide, v.expand(wide.shape[1]))[:, None])
        scaling = self.recipe.scaling
        back = (wide @ b[0]).mul_(scaling)  # (t, r)
        of["B"] = ((wide.T @ self.saved["latent"]).mul_(scaling), back.T @ self.x.to(self.recipe.wide))
        return None if gx is None else torch.addmm(gx, back, b[1], out=None if self.plainly else gx)

    def _of_c(self, dc: Tensor) -> tuple[Tensor, ...]:
        c = self.factors["C"]
        if len(c) == 1:
            return (dc,)
        dc = dc * self.recipe.scaling
        return dc[:, None] @ c[1].T, c[0].T @ dc[:, None]


def _like(gradient: Tensor, tensor: Tensor) -> Tensor:
    """The gradient in the tensor's shape and precision; of one number that was used for many, their sum."""
    if gradient.shape == tensor.shape and gradient.dtype is tensor.dtype:
        return gradient
    if gradient.numel() != tensor.numel():
        gradient = gradient.sum()
    if gradient.shape != tensor.shape:
        gradient = gradient.view(tensor.shape)
    return gradient if gradient.dtype is tensor.dtype else gradient.to(tensor.dtype)
