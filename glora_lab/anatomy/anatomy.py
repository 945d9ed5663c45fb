"""One adapted layer taken apart, whether its tensors lie in a model or in a file.

Both give a `Source`: the tensors under the names that a checkpoint has for them ("lora_A.weight", "glora_C.Xd"), and
what makes terms of them. `dissect` puts the weight's into one core (see core.py), finds the norm of what each path
adds, and says which paths cannot be known without the base model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from glora_lab.adapters.base.frozen import FrozenBase
from glora_lab.adapters.glora.factors import terms_of
from glora_lab.adapters.gralora.formula import block_factors
from glora_lab.adapters.tuner.factors import Blocks, Term, one_block

from .core import core_of

NAN = float("nan")


@dataclass
class Source:
    """One adapter's tensors on one layer.

    `method` is in prose, as `LabLayer` has it. `base` holds W0 and b0 in float64, None where they are not at hand;
    `shape` is (out, in), each None where nothing tells. A layer in memory says itself what its terms are (`live`);
    of a file's, `config` is asked for those of a method that is not LoRA, GLoRA or GraLoRA.
    """

    layer: str
    method: str
    tensors: Mapping[str, Tensor]
    r: int
    shape: tuple[int | None, int | None]
    scaling: float = 1.0
    form: str = "elementwise"
    base: FrozenBase | None = None
    params: int = field(default=-1)
    live: Callable[[], Mapping[str, Term | None]] | None = None
    config: Any = None

    def __post_init__(self) -> None:
        if self.params < 0:
            self.params = sum(tensor.numel() for tensor in self.tensors.values())

    def terms(self) -> Mapping[str, Term | None]:
        """Path → its term; None for one that cannot be known."""
        if self.live is not None:
            return self.live()
        if self.config is None:
            return FROM_FILES[self.method](self)
        terms: Mapping[str, Term | None] = self.config.terms_of(
            self.layer, self.tensors, shape=self.shape, base=self.base
        )
        return terms


class Anatomy(NamedTuple):
    """`core` is (m, n, p, q); `parts` maps a path to the norm of what it adds, nan for those in `unknown`. `factored`
    says that the core is of factors, and not ΔW itself."""

    layer: str
    core: Tensor
    parts: dict[str, float]
    unknown: tuple[str, ...] = ()
    factored: bool = True


def dissect(source: Source) -> Anatomy:
    """The terms of one layer, in float64.

    Raises:
        ValueError: where a tensor holds no finite numbers, or ΔW is too large for numbers.
    """
    for name, tensor in source.tensors.items():
        if tensor.device.type == "meta" or not torch.isfinite(tensor).all():
            why = "has no data (it is on the meta device)" if tensor.device.type == "meta" else "holds NaN or infinity"
            raise ValueError(f"`{name}` of layer {source.layer!r} must hold finite numbers; it {why}")
    anatomy = _of_terms(source.layer, source.terms())
    if not torch.isfinite(anatomy.core.norm()):
        raise ValueError(f"ΔW of layer {source.layer!r} must be finite; scaled by {source.scaling:.3g} it overflows")
    return anatomy


def _of_terms(layer: str, terms: Mapping[str, Term | None]) -> Anatomy:
    weight: list[Term] = []
    parts: dict[str, float] = {}
    for path, term in terms.items():
        if term is None:
            parts[path] = NAN
            continue
        term = term.double() if isinstance(term, Blocks) else term.detach().double()
        if isinstance(term, Blocks) or term.ndim == 2:
            weight.append(term)
            parts[path] = core_of([term]).norm().item()
        else:  # a part of the bias, or a path that is zero
            parts[path] = term.norm().item()
    core = core_of(weight)
    unknown = tuple(path for path, term in terms.items() if term is None)
    return Anatomy(layer, core, parts, unknown, all(isinstance(term, Blocks) for term in weight))


def _lora(source: Source) -> Mapping[str, Term | None]:
    pairs = (("lora_A.weight", "lora_B.weight"), ("lora_embedding_A", "lora_embedding_B"))
    a, b = next((source.tensors[a], source.tensors[b]) for a, b in pairs if a in source.tensors)
    return {"B": one_block(a, b, source.scaling)}


def _glora(source: Source) -> Mapping[str, Term | None]:
    return terms_of(source.tensors, source.base, form=source.form, scaling=source.scaling, shape=source.shape)


def _gralora(source: Source) -> Mapping[str, Term | None]:
    tensors = source.tensors
    b, a = block_factors(tensors["gralora_A"], tensors["gralora_B"])
    grid = Blocks(b, a, source.scaling)
    if "gralora_A_general.weight" not in tensors:
        return {"B": grid}
    return {"B": grid.with_lora(tensors["gralora_A_general.weight"], tensors["gralora_B_general.weight"])}


FROM_FILES: Mapping[str, Callable[[Source], Mapping[str, Term | None]]] = {
    "LoRA": _lora,
    "GLoRA": _glora,
    "GraLoRA": _gralora,
}
