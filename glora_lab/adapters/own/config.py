"""DeltaConfig: the settings of an adapter whose method is a class of one's own, which it names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, ClassVar

import torch
from torch import Tensor

from glora_lab import arguments
from glora_lab.adapters.base.frozen import FrozenBase
from glora_lab.adapters.registry import LabPeftType
from glora_lab.adapters.tuner.config import LabConfig
from glora_lab.adapters.tuner.factors import Blocks, Term

from .examined import Examined, examined, outlined
from .method import DeltaMethod, check_setting, made, method_called

# stand for features that are not known: each has a prime factor of its own, and can be cut into so many parts
OUT, IN, PARTS = 24 * 211, 24 * 223, (1, 2, 3, 4, 6, 8)


@dataclass(frozen=True)
class DeltaPlan:
    """What one adapter puts on one layer: `own` is the method, with its settings and the layer's rank."""

    layer: str
    in_features: int
    out_features: int
    r: int
    own: DeltaMethod
    facts: Examined
    scaling: float = 1.0

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Name in a file → shape, of the trained tensors and of the fixed."""
        return {f"delta_tensors.{name}": shape for name, shape in (self.facts.trained | self.facts.fixed).items()}

    @property
    def fixed(self) -> set[str]:
        """The names of those that do not train."""
        return {f"delta_tensors.{name}" for name in self.facts.fixed}


@dataclass
class DeltaConfig(LabConfig):
    """Settings of an adapter of one's own; made by `YourMethod.config(r=8, target_modules=[...])`.

    They come to those of `LabConfig` of which a method of one's own makes use: `r`, `rank_pattern`, `target_modules`,
    `exclude_modules`, `layers_to_transform`, `layers_pattern`, `modules_to_save`, `bias`.

    Attributes:
        delta_method: the method, a class derived from DeltaMethod. A file has its name, and the class has to be defined
            where the file is read: nothing is imported or run to find it.
        settings: the method's own settings, by name.
        r: the rank that `shapes` is given; a method may leave it aside.

    Raises:
        ValueError: for a method that is not defined here, or a bad setting, with its name, its value and the rule.
    """

    lab_type: ClassVar[str] = LabPeftType.DELTA_LAB
    prefix: ClassVar[str] = "delta_"
    # what a method of one's own settles itself, and what it cannot be put on: no settings here
    init_weights: ClassVar[bool] = True  # type: ignore[misc]
    alpha: ClassVar[None] = None  # type: ignore[misc]
    alpha_pattern: ClassVar[dict[str, float]] = {}  # type: ignore[misc]
    use_rslora: ClassVar[bool] = False  # type: ignore[misc]
    target_parameters: ClassVar[None] = None  # type: ignore[misc]

    delta_method: str | type[DeltaMethod] = ""
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._kind = method_called(self.delta_method)  # this class, whatever its name comes to mean
        self.delta_method = self._kind.__name__
        super().__post_init__()
        self.settings = {**self._kind.settings(), **self.settings}

    @property
    def method(self) -> str:  # type: ignore[override]
        """The class's name."""
        return self._kind.__name__

    def plan(self, layer: str, *, in_features: int, out_features: int, **_: Any) -> DeltaPlan:
        """What this configuration puts on the layer of that name.

        Raises:
            ValueError: where the method does not work on it, see examined.py.
        """
        r = self.on_layer(layer, "rank_pattern", self.r)
        if not (isinstance(in_features, int) and isinstance(out_features, int)):
            return self._plan_of_parts(layer, in_features, out_features, r)
        settings = tuple(sorted(self.settings.items()))
        facts = examined(self._kind, settings, out_features, in_features, r)  # type: ignore[arg-type]  # a class is hashable
        return DeltaPlan(layer, in_features, out_features, r, facts.method, facts)

    def _plan_of_parts(self, layer: str, in_features: Any, out_features: Any, r: int) -> DeltaPlan:
        """The same where the features of a side are a word for what is not known yet: the method is asked for sizes
        that stand for it, whose parts are found again in the shapes."""
        sizes = {OUT: out_features, IN: in_features}
        parts = {size // k: asked // k if k > 1 else asked for size, asked in sizes.items() for k in PARTS}
        try:
            facts = outlined(self._kind, self.settings, OUT, IN, r)
        except ValueError as error:
            rule = "of a layer must be known to say what its tensors are: give `base_model`"
            raise arguments.refuse("delta_method", self.method, f"{rule} ({error})") from error
        trained, fixed = (
            {name: tuple(parts.get(size, size) for size in shape) for name, shape in shapes.items()}
            for shapes in (facts.trained, facts.fixed)
        )
        return DeltaPlan(
            layer, in_features, out_features, r, facts.method, facts._replace(trained=trained, fixed=fixed)
        )

    def terms_of(
        self, layer: str, tensors: Mapping[str, Tensor], *, shape: Any, base: FrozenBase | None
    ) -> dict[str, Term | None]:
        """ "B", what is added to the weight, and "E", to the bias, in float64, from tensors under a checkpoint's names;
        None where W0, b0 (`base`, float64) or the layer's sizes would have to be known."""
        out, into = shape
        if out is None or into is None:
            return {"B": None}
        facts = self.plan(layer, in_features=into, out_features=out).facts
        bare = {name.partition(".")[2]: tensor for name, tensor in tensors.items()}
        named = {name: t.double() if t.is_floating_point() else t for name, t in bare.items()}
        bias = {"E": None if base is None else facts.ask("bias_delta", base.bias, **named)} if facts.has_bias else {}
        known = {path: term for path, term in bias.items() if base is None or term is not None}
        if (found := facts.ask("blocks", **named)) is not None:
            return {"B": Blocks(found[0], found[1]), **known}
        if base is None and facts.reads_base:
            return {"B": None, **known}
        w0 = torch.zeros(out, into, dtype=torch.float64) if base is None else base.matrix()
        return {"B": facts.ask("delta", w0, **named), **known}

    def trained_at(self, layer: str, in_features: int, out_features: int, r: int) -> int:
        """How many parameters train on a layer where the general rank is `r`, from `shapes` alone."""
        rank = self.on_layer(layer, "rank_pattern", r)
        shapes = outlined(self._kind, self.settings, out_features, in_features, rank).trained.values()
        return sum(map(prod, shapes))

    def depends_on_rank(self, in_features: int, out_features: int) -> bool:
        """Whether the method has other tensors at another rank."""
        own = made(self._kind, self.settings)
        return own.shapes(out_features, in_features, self.r) != own.shapes(out_features, in_features, 2 * self.r)

    def validate(self) -> None:
        super().validate()
        if self.delta_method != self._kind.__name__:
            self._kind = method_called(self.delta_method)
        if not isinstance(self.settings, dict):
            raise arguments.refuse("settings", self.settings, "must be a dict of the method's own settings")
        for name, value in self.settings.items():
            check_setting(self._kind, name, value)
