"""GLoRA's formula, for one adapter on one layer.

    W_eff = W0 + W0⊙A + B            b_eff = b0 + b0⊙D + E + W0·C

`output` asks a plain base once, with all that can be added beforehand: the product form is base(x + A·x), C joins x,
elementwise lora-A multiplies with W0⊙(1 + A). `add_delta` adds the paths to what a base has computed: beside other
adapters, with dropout, over a base that is a function, and where adding in the base's own precision would lose the
digits that the delta consists of. `weight_terms` and `bias_terms` are the same terms one by one, for merging and
pictures. The vector and constant modes never build an (out, in) matrix: (W0⊙a)x = a⊙(W0·x), which the base has
computed already, and a B whose columns are all v gives v·Σx. Source: arXiv 2306.07967; authors' code
Arnav0400/ViT-Slim, folder GLoRA.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glora_lab.adapters.base.frozen import FrozenBase

from .path_modules import LowRankPath, Path, Paths, SinglePath
from .plain_base import FEW, PlainBase
from .products import KeptNarrow, is_slow, is_zero
from .scaled_weight import LOW

Pair = tuple[Tensor, Tensor]


class Values(NamedTuple):
    """What an adapter holds on a layer: by letter X, flat, or (Xd, Xu), of C their product, in the precision
    `wide`, float32 at least.

    A `meets` the "output" where it is one scale per output or one number, the "input" in the product form, and the
    "weight" where it is elementwise and low-rank.
    """

    of: dict[str, Tensor | Pair]
    meets: str
    wide: torch.dtype
    scaling: float

    @property
    def c(self) -> Tensor | None:
        return cast("Tensor | None", self.of.get("C"))

    def add_nothing(self) -> bool:
        return all(is_zero(held[0] if isinstance(held, tuple) else held) for held in self.of.values())


def values_of(paths: Paths, dtype: torch.dtype, form: str, scaling: float, factor: float = 1) -> Values:
    """For an input of precision `dtype`; `factor` multiplies vectors and constants, as `scaling` does the products."""
    of: dict[str, Tensor | Pair] = {}
    wide, meets, casts = torch.float32 if dtype in LOW else dtype, "", False
    for letter, path in paths.items():
        held: tuple[Tensor, ...]
        if isinstance(path, LowRankPath):
            of[letter] = held = path()
        else:
            held = (path.values,)
            of[letter] = held[0] if factor == 1 else held[0] * factor
        for tensor in held:
            if tensor.dtype is not wide:
                wide, casts = torch.promote_types(wide, tensor.dtype), True
    if (a := of.get("A")) is not None:
        if form == "product" and (isinstance(a, tuple) or a.numel() > 1):
            meets = "input"
        else:
            meets = "weight" if isinstance(a, tuple) else "output"
    for letter, values in of.items() if casts else ():
        of[letter] = (values[0].to(wide), values[1].to(wide)) if isinstance(values, tuple) else values.to(wide)
    if isinstance(c := of.get("C"), tuple):
        of["C"] = _times(torch.mv(c[0], c[1].view(-1)), scaling)
    return Values(of, meets, wide, scaling)


def output(paths: Paths, x: Tensor, layer: nn.Module, *, form: str, scaling: float, factor: float = 1) -> Tensor:
    """Base and paths together over a plain `layer`: (..., in) → (..., out) in x's precision.

    In full precision, which is x's own, nothing is lost where W0 and a delta are added before the product. A slow
    precision is widened to that, unless the base's own few products are quicker, or have to be its bits.
    """
    values = values_of(paths, x.dtype, form, scaling, factor)
    rows = x if x.ndim == 2 else x.reshape(-1, x.shape[-1])
    slow = x.dtype in LOW and values.wide is torch.float32 and is_slow(x.dtype, x.device.type)
    widened = slow and (len(rows) > 2 or values.meets in ("input", "weight")) and not values.add_nothing()
    base = PlainBase(layer, values.wide if widened else x.dtype, slow)
    if widened or values.wide is x.dtype:
        y = _fused(values, rows, base)
    else:
        result, of_c = base.linear_and_product(rows, values.c)
        y = _beside(result.to(values.wide), values, rows, result, base, of_c)
    y = y if y.dtype is x.dtype else y.to(x.dtype)
    return y if x.ndim == 2 else y.view(*x.shape[:-1], -1)


def add_delta(
    total: Tensor,
    paths: Paths,
    x: Tensor,
    result: Tensor,
    base: FrozenBase,
    *,
    form: str,
    scaling: float,
    factor: float,
    dropout: nn.Module,
) -> Tensor:
    """`total` and what the adapter adds to `result` = base(x), as a new tensor in float32 at least."""
    values = values_of(paths, total.dtype, form, scaling, factor)
    seen = dropout(x) if "A" in paths or "B" in paths else x
    known = None if is_dropping(dropout) else _rows(result)  # or the base has seen another x
    of_c = None if values.c is None else base.product(values.c)
    return _beside(_rows(total).to(values.wide), values, _rows(seen), known, base, of_c).view(total.shape)


def is_dropping(dropout: nn.Module) -> bool:
    return isinstance(dropout, nn.Dropout) and dropout.training


def _rows(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])


def _fused(values: Values, x: Tensor, base: PlainBase) -> Tensor:
    """(t, in) → (t, out), with one product with W0."""
    latent = _latent(values, x, base)
    z = x if x.dtype is values.wide else x.to(values.wide)
    a, c, bias = values.of.get("A"), values.c, base.bias
    if values.meets == "input" and isinstance(a, tuple):
        z = torch.addmm(z, _reduced(x, a[1], base), a[0].T, alpha=values.scaling)
    elif values.meets == "input":
        z = torch.addcmul(z, x, cast(Tensor, a))
    if c is not None and len(x) <= FEW and values.meets in ("", "input"):
        z, c = z + c, None  # where reading W0 is the cost, C goes along
    if values.meets == "output":
        y, of_c = base.linear_and_product(z, c)
        scale = cast(Tensor, a)
        added = _added(values, bias, of_c, scale)
        y = y * (1 + scale) if added is None else torch.addcmul(added, y, 1 + scale)
        return _add_b(y, values, latent, in_place=len(x) > FEW)
    added = _added(values, bias, None if c is None else base.product(c))
    if values.meets == "weight":
        xd, xu = cast(Pair, a)
        y = base.scaled(x, _times(xd, values.scaling), xu, _sum(bias, added))
    elif bias is None:  # with a bias that the base has not, its product would be rounded in another order
        y = base.linear(z) if added is None else base.linear(z) + added
    else:
        y = base.linear(z, _sum(bias, added))
    return _add_b(y, values, latent, in_place=len(x) > FEW)


def _beside(
    y: Tensor, values: Values, x: Tensor, result: Tensor | None, base: FrozenBase, of_c: Tensor | None
) -> Tensor:
    """`y` (t, out) and every path; `result` is base(x) for the same x, if known, and `of_c` is W0·C."""
    a, bias = values.of.get("A"), base.bias if {"A", "D"} & values.of.keys() else None
    latent, scale = _latent(values, x, base), None
    if values.meets == "output" and result is None:
        y = y + cast(Tensor, a) * base.product(x)
    elif values.meets == "output":
        scale = cast(Tensor, a)
        y = torch.addcmul(y, cast(Tensor, result), scale)
    elif values.meets == "input":
        y = y + _of_input(values, x, base).to(values.wide)
    elif values.meets == "weight":
        y = y + _of_weight(values, x, base).to(values.wide)
    added = _added(values, bias, None if of_c is None else of_c.to(values.wide), scale)
    return _add_b(y if added is None else y + added, values, latent)


def _of_input(values: Values, x: Tensor, base: FrozenBase) -> Tensor:
    """W0·A·x on its own."""
    a = values.of["A"]
    if not isinstance(a, tuple):
        return base.product(x * a)
    reduced = _reduced(x, a[1], base)
    if len(x) < a[1].shape[0]:
        return base.product(reduced @ a[0].T * values.scaling)
    return reduced @ base.product(a[0].T).to(values.wide) * values.scaling  # A's columns go through W0, once for all


def _of_weight(values: Values, x: Tensor, base: FrozenBase) -> Tensor:
    """(W0⊙A)·x on its own."""
    xd, xu = cast(Pair, values.of["A"])
    if isinstance(base, PlainBase):
        return base.scaled(x, _times(xd, values.scaling), xu, plus_one=False)
    w0 = base.matrix()
    weight = w0 * (xd @ xu).to(torch.promote_types(w0.dtype, values.wide))
    return F.linear(x.to(weight.dtype), weight) * values.scaling


def _reduced(x: Tensor, xu: Tensor, base: FrozenBase) -> Tensor:
    """(t, in) → (t, r) in the precision of the factor."""
    if len(x) > FEW and x.dtype is not xu.dtype and isinstance(base, PlainBase):
        reduced: Tensor = KeptNarrow.apply(x, xu)
        return reduced
    return F.linear(x if x.dtype is xu.dtype else x.to(xu.dtype), xu)


def _latent(values: Values, x: Tensor, base: FrozenBase) -> Tensor | None:
    """What B sees of x: (t, r), or Σx, (t,), of a constant (t, 1).

    Asked for before the base, so that what flows back here is added in place to what comes from there.
    """
    b = values.of.get("B")
    if isinstance(b, tuple):
        return _reduced(x, b[1], base)
    return None if b is None else x.sum(-1, keepdim=len(b) == 1, dtype=values.wide)


def _add_b(y: Tensor, values: Values, latent: Tensor | None, *, in_place: bool = False) -> Tensor:
    """In place where nobody else has seen `y`: a large tensor more costs some per cent of a step."""
    if latent is None:
        return y
    b = values.of["B"]
    if isinstance(b, tuple):
        return (y.addmm_ if in_place else y.addmm)(latent, b[0].T, alpha=values.scaling)
    if len(b) == 1:
        return (y.addcmul_ if in_place else y.addcmul)(latent, b)
    return (y.addr_ if in_place else y.addr)(latent, b)


def _added(values: Values, bias: Tensor | None, of_c: Tensor | None, a: Tensor | None = None) -> Tensor | None:
    """W0·C + b0⊙D + E, first among themselves, for these are small; less b0⊙A where A has scaled b0 too."""
    added, d = _sum(of_c, cast("Tensor | None", values.of.get("E"))), cast("Tensor | None", values.of.get("D"))
    times = d if a is None else -a if d is None else d - a
    if bias is None or times is None:
        return added
    return bias * times if added is None else torch.addcmul(added, bias, times)


def _times(tensor: Tensor, number: float) -> Tensor:
    return tensor if number == 1 else tensor * number


def _sum(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    return other if one is None else one if other is None else one + other


def bias_terms(paths: Paths, base: FrozenBase, *, scaling: float) -> dict[str, Tensor]:
    """The terms added to b0, per path: C gives W0·C, D gives b0⊙D, E itself; each (out,), or (1,) if constant."""
    terms = {}
    if "C" in paths:
        path = paths["C"]
        c = path.matrix(base.dtype).reshape(-1) * scaling if isinstance(path, LowRankPath) else path.values
        terms["C"] = base.product(c).to(c.dtype)
    if "D" in paths:
        assert base.bias is not None  # without a bias D is inert, and its path absent
        terms["D"] = base.bias * cast(SinglePath, paths["D"]).values
    if "E" in paths:
        terms["E"] = cast(SinglePath, paths["E"]).values
    return terms


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
