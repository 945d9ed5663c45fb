"""One adapted layer taken apart, whether its tensors lie in a model or in a file.

Both give a `Source`: the tensors under the names that a checkpoint has for them ("lora_A.weight", "glora_C.Xd"), and
what the configuration made of them. `dissect` finds the terms of it: the weight's as one core (see core.py), the norm
of what each path adds, and which paths cannot be known without the base model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from glora_lab.adapters.base.frozen import FrozenBase
from glora_lab.adapters.glora.formula import LowRankPath, Path, SinglePath, bias_terms, build_path, weight_terms
from glora_lab.adapters.glora.paths import PATHS

from .core import Product, Term, block_core, core_of

NAN = float("nan")


@dataclass
class Source:
    """One adapter's tensors on one layer.

    `method` is "LoRA", "GLoRA", "GraLoRA", or "dense" for a ΔW that is there as a matrix. `base` holds W0 and b0 in
    float64, None where they are not at hand, `shape` is (out, in), each None where nothing tells.
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

    def __post_init__(self) -> None:
        if self.params < 0:
            self.params = sum(tensor.numel() for tensor in self.tensors.values())


class Anatomy(NamedTuple):
    """`core` is (m, n, p, q); `parts` maps a path to the norm of what it adds, nan for those in `unknown`."""

    layer: str
    core: Tensor
    parts: dict[str, float]
    unknown: tuple[str, ...] = ()


def dissect(source: Source) -> Anatomy:
    """The terms of one layer, in float64.

    Raises:
        ValueError: where a tensor holds no finite numbers, or ΔW is too large for numbers.
    """
    anatomy = _dissect(source)
    if not torch.isfinite(anatomy.core.norm()):
        raise ValueError(f"ΔW of layer {source.layer!r} must be finite; scaled by {source.scaling:.3g} it overflows")
    return anatomy


def _dissect(source: Source) -> Anatomy:
    for name, tensor in source.tensors.items():
        if tensor.device.type == "meta" or not torch.isfinite(tensor).all():
            why = "has no data (it is on the meta device)" if tensor.device.type == "meta" else "holds NaN or infinity"
            raise ValueError(f"`{name}` of layer {source.layer!r} must hold finite numbers; it {why}")
    tensors = {name: tensor.detach().double() for name, tensor in source.tensors.items()}
    if source.method == "GLoRA":
        return _dissect_paths(source, tensors)
    if source.method == "dense":
        core = tensors["delta"][None, None]
    elif source.method == "LoRA":
        pairs = (("lora_A.weight", "lora_B.weight"), ("lora_embedding_A", "lora_embedding_B"))
        a, b = next((tensors[a], tensors[b]) for a, b in pairs if a in tensors)
        core = block_core(a.mT[None], b.mT[None]) * source.scaling
    else:
        general = None
        if "gralora_B_general.weight" in tensors:
            general = Product(tensors["gralora_B_general.weight"], tensors["gralora_A_general.weight"])
        core = block_core(tensors["gralora_A"], tensors["gralora_B"], general) * source.scaling
    return Anatomy(source.layer, core, {"B": core.norm().item()})


def _dissect_paths(source: Source, tensors: Mapping[str, Tensor]) -> Anatomy:
    weight: list[Term] = []
    parts: dict[str, float] = {}
    unknown = []
    for letter in PATHS:
        path = _path(tensors, letter)
        if path is None:
            continue
        if not all(p.any() for p in path.parameters()):  # a factor that is zero needs no base to be multiplied with
            parts[letter] = 0.0
        elif (term := _term(letter, path, source)) is None:
            parts[letter] = NAN
            unknown.append(letter)
        elif letter in "AB":
            weight.append(term)
            parts[letter] = core_of([term]).norm().item()
        else:
            assert isinstance(term, Tensor)
            parts[letter] = term.norm().item()
    return Anatomy(source.layer, core_of(weight), parts, tuple(unknown))


def _path(tensors: Mapping[str, Tensor], letter: str) -> Path | None:
    """The path as the layers have it, in float64, so that their own formula can be asked."""
    start = f"glora_{letter}."
    own = {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
    if not own:
        return None
    path = build_path({name: tuple(tensor.shape) for name, tensor in own.items()}).double()
    path.load_state_dict(own)
    return path.requires_grad_(False)


def _term(letter: str, path: Path, source: Source) -> Term | None:
    """(out, in) for A and B, (out,) for C, D and E; None where it cannot be known."""
    base, (out, into) = source.base, source.shape
    if letter == "B":
        if isinstance(path, LowRankPath):
            return Product(path.Xd * source.scaling, path.Xu)
        if out is None or into is None:
            return None
        return Product(path.values.expand(out)[:, None], path.X.new_ones(1, into))
    if letter == "E":
        assert isinstance(path, SinglePath)  # E has no mode lora
        return None if out is None else path.values.expand(out)
    if base is None:
        return None
    if letter != "A":
        return bias_terms({letter: path}, base, scaling=source.scaling)[letter]
    if source.form == "product" and isinstance(path, LowRankPath):
        return Product(base.product(path.Xd.T).T * source.scaling, path.Xu)
    return weight_terms({"A": path}, base, form=source.form, scaling=source.scaling)["A"]
