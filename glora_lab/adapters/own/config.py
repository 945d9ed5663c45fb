"""DeltaConfig: the settings of an adapter whose method is a class of one's own, which it names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from glora_lab import arguments
from glora_lab.adapters.registry import LabPeftType
from glora_lab.adapters.tuner.config import LabConfig
from glora_lab.adapters.tuner.name_patterns import pattern_key

from .examined import Examined, examined
from .method import DeltaMethod, check_setting, method_called


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

    def shapes(self) -> dict[str, tuple[int, ...]]:
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
        target_modules, exclude_modules, layers_to_transform, layers_pattern, modules_to_save, rank_pattern: as PEFT's.
        bias: which biases of the base train as well: "none", "all" or "delta_only".

    Raises:
        ValueError: for a bad setting, with its name, its value and the rule.
    """

    lab_type: ClassVar[str] = LabPeftType.DELTA_LAB
    target_parameters: ClassVar[None] = None

    delta_method: str | type[DeltaMethod] = ""
    settings: dict[str, Any] = field(default_factory=dict)
    r: int = 8
    target_modules: list[str] | str | None = None
    bias: str = "none"
    modules_to_save: list[str] | None = None
    layers_to_transform: list[int] | int | None = None
    layers_pattern: list[str] | str | None = None
    rank_pattern: dict[str, int] = field(default_factory=dict)
    exclude_modules: list[str] | str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = LabPeftType.DELTA_LAB
        self._kind = method_called(self.delta_method)  # this class, whatever its name comes to mean
        self.delta_method = self._kind.__name__
        self.validate()
        self.settings = {**self._kind.settings(), **self.settings}
        for name in ("target_modules", "exclude_modules"):
            value = getattr(self, name)
            setattr(self, name, set(value) if isinstance(value, list | tuple) else value)

    @property
    def method(self) -> str:  # type: ignore[override]
        return self._kind.__name__

    def plan(self, layer: str, *, in_features: int, out_features: int, **_: Any) -> DeltaPlan:
        """What this configuration puts on the layer of that name.

        Raises:
            ValueError: where the method does not work on it, see examined.py.
        """
        r = self.rank_pattern.get(pattern_key(self.rank_pattern, layer), self.r)
        settings = tuple(sorted(self.settings.items()))
        facts = examined(self._kind, settings, out_features, in_features, r)  # type: ignore[arg-type]  # a class is hashable
        return DeltaPlan(layer, in_features, out_features, r, facts.method, facts)

    def validate(self) -> None:
        """Check every setting, again before a model is touched, for fields can be assigned after construction."""
        if self.delta_method != self._kind.__name__:
            self._kind = method_called(self.delta_method)
        if not isinstance(self.settings, dict):
            raise arguments.refuse("settings", self.settings, "must be a dict of the method's own settings")
        for name, value in self.settings.items():
            check_setting(self._kind, name, value)
        arguments.check_positive_int("r", self.r)
        arguments.check_choice("bias", self.bias, ("none", "all", "delta_only"))
        arguments.check_names("target_modules", self.target_modules)
        arguments.check_names("exclude_modules", self.exclude_modules)
        arguments.check_names("modules_to_save", self.modules_to_save, regex=False)
        arguments.check_layers(self)
        for key, value in arguments.check_pattern("rank_pattern", self.rank_pattern).items():
            arguments.check_positive_int(f"rank_pattern[{key!r}]", value)
