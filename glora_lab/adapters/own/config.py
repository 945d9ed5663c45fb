"""DeltaConfig: the settings of an adapter whose method is a class of one's own, which it names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from glora_lab import arguments
from glora_lab.adapters.registry import LabPeftType
from glora_lab.adapters.tuner.config import LabConfig

from .examined import Examined, examined
from .method import DeltaMethod, check_setting, made, method_called


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


@dataclass
class DeltaConfig(LabConfig):
    """Settings of an adapter of one's own; made by `YourMethod.config(r=8, target_modules=[...])`.

    Args:
        delta_method: the method, a class derived from DeltaMethod. A file has its name, and the class has to be defined
            where the file is read: nothing is imported or run to find it.
        settings: the method's own settings, by name.
        r: the rank that `shapes` is given; a method may leave it aside.
        target_modules, exclude_modules, layers_to_transform, layers_pattern, modules_to_save, rank_pattern, bias: see
            `LabConfig`.
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
        return self._kind.__name__

    def plan(self, layer: str, *, in_features: int, out_features: int, **_: Any) -> DeltaPlan:
        """What this configuration puts on the layer of that name.

        Raises:
            ValueError: where the method does not work on it, see examined.py.
        """
        r = self.on_layer(layer, "rank_pattern", self.r)
        settings = tuple(sorted(self.settings.items()))
        facts = examined(self._kind, settings, out_features, in_features, r)  # type: ignore[arg-type]  # a class is hashable
        return DeltaPlan(layer, in_features, out_features, r, facts.method, facts)

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
