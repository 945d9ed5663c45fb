"""GLoRA's formula, term by term, for one adapter on one layer.

    W_eff = W0 + W0⊙A + B            b_eff = b0 + b0⊙D + E + W0·C

Each term is computed on its own and added to what the base computed: subtracting the base again would cost a
second product and, in bfloat16, the digits that the delta consists of. The vector and constant modes never
build an (out, in) matrix: (W0⊙a)x = a⊙(W0·x), which the base has computed already, and a B whose columns are
all v gives v·Σx. Source: arXiv 2306.07967; authors' code Arnav0400/ViT-Slim, folder GLoRA.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glora_lab.adapters.base.frozen import FrozenBase
from glora_lab.adapters.tuner.terms import EXAMPLE_SIZE, add, kaiming

from .paths import Shapes


class LowRankPath(nn.Module):
    """Mode `lora`: the matrix Xd @ Xu."""

    def __init__(self, shapes: Shapes) -> None:
        super().__init__()
        self.Xd = nn.Parameter(torch.zeros(shapes["Xd"]))  # (rows, r)
        self.Xu = nn.Parameter(torch.zeros(shapes["Xu"]))  # (r, columns)

    def matrix(self, dtype: torch.dtype | None = None) -> Tensor:
        """Xd @ Xu, multiplied in `dtype` where given, so that its rank is not rounded away."""
        xd, xu = self()
        return xd.to(dtype) @ xu.to(dtype) if dtype else xd @ xu

    def forward(self) -> tuple[Tensor, Tensor]:
        """Both factors. A call and no look-up, for accelerate brings offloaded tensors in when a module is called."""
        return self.Xd, self.Xu


class SinglePath(nn.Module):
    """Modes `vector` and `constant`: one tensor that broadcasts."""

    def __init__(self, shapes: Shapes, lead: int = 0) -> None:
        super().__init__()
        self.X = nn.Parameter(torch.zeros(shapes["X"]))
        self.lead = lead

    @property
    def values(self) -> Tensor:
        """(features,) for a vector, (1,) for a constant; of experts, `lead` = 1, the same for each."""
        values: Tensor = self()
        return values.flatten(self.lead)

    def forward(self) -> Tensor:
        return self.X  # asked for by calling, see `LowRankPath`


Path: TypeAlias = LowRankPath | SinglePath
Paths: TypeAlias = Mapping[str, Path]  # by letter; a path that is off is absent


def build_path(shapes: Shapes, lead: int = 0) -> Path:
    """`lead` counts the axes before the matrix: 1 for experts."""
    return LowRankPath(shapes) if "Xd" in shapes else SinglePath(shapes, lead)


def init_path(path: Path, letter: str, form: str, in_features: int, *, no_op: bool) -> None:
    """Kaiming-uniform Xu and zeros elsewhere; without `no_op`, small random values of `EXAMPLE_SIZE`."""
    spread = math.sqrt(3) * EXAMPLE_SIZE  # a uniform on ±spread has standard deviation EXAMPLE_SIZE
    if isinstance(path, LowRankPath):
        kaiming(path.Xu)
        # Xu has variance 1/(3·fan_in): this Xd gives (Xd @ Xu)·x that size, and elementwise A that size per entry
        bound = spread * math.sqrt(3 / path.Xd.shape[-1])
        if letter == "A" and form == "elementwise":
            bound *= math.sqrt(in_features)
        _fill(path.Xd, 0.0 if no_op else bound, alone=path.Xd.numel() == 1)
    else:
        # B adds v·Σx to every output. 2/in makes that twice the mean of x: a third of the base's output where all
        # activations are positive, still 1% of it at 1,024 inputs where they are centred
        alone = path.X.shape[path.lead :].numel() == 1
        _fill(path.X, 0.0 if no_op else spread * (2 / in_features if letter == "B" else 1), alone=alone)


@torch.no_grad()
def _fill(parameter: Tensor, bound: float, *, alone: bool) -> None:
    if not bound:
        nn.init.zeros_(parameter)
        return
    nn.init.uniform_(parameter, -bound, bound)
    if alone:  # one draw may fall anywhere near 0: keep its sign, and give it the usual size
        parameter.copy_(parameter.sign() * bound / math.sqrt(3))


def output_delta(
    paths: Paths, x: Tensor, result: Tensor, base: FrozenBase, *, form: str, scaling: float, dropout: nn.Module
) -> Tensor:
    """What the adapter adds to `result` = base(x): (..., in), (..., out) → (..., out), in the adapter's precision."""
    terms = []
    if "A" in paths or "B" in paths:
        dropped = dropout(x)
        if "A" in paths:
            known = None if is_dropping(dropout) else result
            terms.append(_a_output(paths["A"], dropped, known, base, form, scaling))
        if "B" in paths:
            terms.append(_b_output(paths["B"], dropped, scaling))
    bias = list(bias_terms(paths, base, scaling=scaling).values())
    if bias:
        terms.append(add(bias))  # first among themselves, for they are small
    return add(terms)


def is_dropping(dropout: nn.Module) -> bool:
    return isinstance(dropout, nn.Dropout) and dropout.training


def _a_output(path: Path, x: Tensor, result: Tensor | None, base: FrozenBase, form: str, scaling: float) -> Tensor:
    """(W0⊙A)·x or W0·A·x; `result` is base(x), None where dropout has changed x since the base saw it."""
    if isinstance(path, SinglePath):
        if form == "product" and path.X.numel() > 1:
            return base.product(x * path.values).to(path.X.dtype)  # W0·diag(a)·x scales the input channels
        if result is None:
            return path.values * base.product(x)
        result = result.to(path.X.dtype)  # first, or taking b0 away would round a second time
        return path.values * (result if base.bias is None else result - base.bias)
    if form == "product":
        xd, xu = path()
        x = x.to(xd.dtype)
        reduced = base.product(xd.T)  # (r, o): W0·Xd, so that W0 is read once per step, not per token
        return F.linear(F.linear(x, xu), reduced.T.to(x.dtype)) * scaling
    w0 = base.matrix()
    weight = w0 * path.matrix(torch.promote_types(w0.dtype, path.Xd.dtype))
    return F.linear(x.to(weight.dtype), weight) * scaling


def _b_output(path: Path, x: Tensor, scaling: float) -> Tensor:
    if isinstance(path, SinglePath):
        return x.sum(-1, keepdim=True, dtype=path.X.dtype) * path.values
    xd, xu = path()
    return F.linear(F.linear(x.to(xd.dtype), xu), xd) * scaling


def bias_terms(paths: Paths, base: FrozenBase, *, scaling: float) -> dict[str, Tensor]:
    """The terms added to b0, per path: C gives W0·C, D gives b0⊙D, E itself; each (out,), or (1,) if constant."""
    terms = {}
    if "C" in paths:
        path = paths["C"]
        c = path.matrix(base.dtype).reshape(-1) * scaling if isinstance(path, LowRankPath) else path.values
        terms["C"] = base.product(c).to(c.dtype)
    if "D" in paths:
        assert base.bias is not None  # without a bias D is inert, and its path absent
        terms["D"] = base.bias * _values(paths["D"])
    if "E" in paths:
        terms["E"] = _values(paths["E"])
    return terms


def _values(path: Path) -> Tensor:
    assert isinstance(path, SinglePath)  # D and E have no mode lora
    return path.values


def weight_terms(paths: Paths, base: FrozenBase, *, form: str, scaling: float) -> dict[str, Tensor]:
    """The terms added to W0, per path: A gives W0⊙A (or W0·A), B itself; each broadcasts to (…, out, in)."""
    terms = {}
    if "A" in paths:
        terms["A"] = _a_weight(paths["A"], base, form, scaling)
    if "B" in paths:
        b = paths["B"]
        terms["B"] = b.matrix(base.dtype) * scaling if isinstance(b, LowRankPath) else b.values[..., None]
    return terms


def _a_weight(path: Path, base: FrozenBase, form: str, scaling: float) -> Tensor:
    w0 = base.matrix()
    if isinstance(path, LowRankPath):
        a = path.matrix(base.dtype or w0.dtype) * scaling
        return w0.to(a.dtype) @ a if form == "product" else w0 * a
    values = path.values if base.dtype is None else path.values.to(base.dtype)
    return w0 * (values[..., None, :] if form == "product" else values[..., None])
