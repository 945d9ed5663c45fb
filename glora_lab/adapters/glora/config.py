"""GloraConfig: PEFT's arguments as they are, and what the method needs beyond them.

PEFT names its modes jointly (`config_A_B`, `config_D_E`), which cannot say LoRA (B alone), BitFit (E alone)
or SSF (A, D and E). We keep the joint names as shorthand, so that every stock configuration reads the same
here, and let `config_A`, `config_B`, `config_D` and `config_E` override them one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import peft

from glora_lab import arguments
from glora_lab.adapters.registry import LabPeftType
from glora_lab.adapters.tuner.config import LabConfig

from .paths import FORMS, MODES, PATHS, LayerPlan, inert_reason

# path → the setting that holds its mode where it has none of its own
SHORTHAND = {"A": "config_A_B", "B": "config_A_B", "C": "config_C", "D": "config_D_E", "E": "config_D_E"}
Mode = Literal["lora", "vector", "constant", "none"]


def _check_modes(name: str, modes: Any) -> None:
    if not isinstance(modes, Mapping) or not set(modes) <= set(PATHS):
        raise arguments.refuse(name, modes, "must be a dict from path (A, B, C, D, E) to mode")
    for path, mode in modes.items():
        arguments.check_choice(f"{name}[{path!r}]", mode, MODES[path])


@dataclass
class GloraConfig(LabConfig):
    """Settings of a GLoRA adapter: W_eff = W0 + W0⊙A + B, b_eff = b0 + b0⊙D + E + W0·C (arXiv 2306.07967).

    They come to those of `LabConfig` (`target_modules`, …), of which `r` is the rank of every path in mode "lora".

    Attributes:
        config_A_B: mode of paths A and B, as in PEFT.
        config_C: mode of path C.
        config_D_E: mode of paths D and E, as in PEFT.
        config_A: mode of A alone, over `config_A_B`.
        config_B: mode of B alone, over `config_A_B`.
        config_D: mode of D alone, over `config_D_E`.
        config_E: mode of E alone, over `config_D_E`.
        A_form: "elementwise" (W0⊙A, the authors' code) or "product" (W0·A, the paper's figure).
        init_weights: True starts as a no-op. False starts from small random values: each weight term changes a layer's
            output by about a tenth of what it acts on.
        alpha: None leaves the low-rank products as they are, as the authors do; else they are multiplied by alpha/r, or
            alpha/√r with `use_rslora`.
        glora_dropout: probability of dropout on the input of the A and B terms while training.
        bias_free: what C, D and E do on a layer without bias: "drop" leaves them out (as PEFT), "add" keeps E and W0·C
            as in the authors' code, and merging then gives the layer a bias.
        path_pattern: module pattern → {path: mode}, what a path search returns.
        target_parameters: each expert has its own W0, A and B; a vector has one value per output (in form "product",
            for A, per input) of an expert, see `glora_lab.adapters.base.parameter` for which axis that is. C, D and E
            change a bias and are inert here, also where a module keeps its experts' biases as a further parameter.

    Raises:
        ValueError: for a bad setting, with its name, its value and the rule.
    """

    method: ClassVar[str] = "GLoRA"
    lab_type: ClassVar[str] = LabPeftType.GLORA_LAB
    stock_class: ClassVar[type[peft.PeftConfig] | None] = peft.GloraConfig
    prefix: ClassVar[str] = "glora_"
    own_patterns: ClassVar[Any] = {"path_pattern": _check_modes}

    config_A_B: Mode = "lora"
    config_C: Literal["lora", "vector", "none"] = "lora"
    config_D_E: Literal["vector", "constant", "none"] = "constant"
    config_A: Mode | None = None
    config_B: Mode | None = None
    config_D: Literal["vector", "constant", "none"] | None = None
    config_E: Literal["vector", "constant", "none"] | None = None
    A_form: Literal["elementwise", "product"] = "elementwise"
    glora_dropout: float = 0.0
    bias_free: Literal["drop", "add"] = "drop"
    path_pattern: dict[str, dict[str, str]] = field(default_factory=dict)

    @classmethod
    def only(
        cls, *, A: str = "none", B: str = "none", C: str = "none", D: str = "none", E: str = "none", **others: Any
    ) -> GloraConfig:
        """The named paths and no others: `only(B="lora")` is LoRA, `only(E="vector")` is BitFit."""
        modes: dict[str, Any] = {"config_A": A, "config_B": B, "config_C": C, "config_D": D, "config_E": E}
        return cls(**modes, **others)

    @property
    def modes(self) -> dict[str, str]:
        """Path → mode, the shorthand and its overrides settled."""
        return {path: getattr(self, f"config_{path}") or getattr(self, SHORTHAND[path]) for path in PATHS}

    def plan(
        self, layer: str, *, in_features: int, out_features: int, has_bias: bool, lead: tuple[int, ...] | None = None
    ) -> LayerPlan:
        """See `LabConfig.plan`; inert paths are found."""
        r, asked = (
            self.on_layer(layer, "rank_pattern", self.r),
            {**self.modes, **self.on_layer(layer, "path_pattern", {})},
        )
        known: Any = {"has_bias": has_bias, "bias_free": self.bias_free, "is_parameter": lead is not None}
        inert = {path: why for path in PATHS if asked[path] != "none" and (why := inert_reason(path, **known))}
        modes = {path: "none" if path in inert else asked[path] for path in PATHS}
        scaling = self.scaling(layer, r)
        return LayerPlan(layer, in_features, out_features, r, scaling, self.A_form, asked, modes, inert, lead)

    def validate(self) -> None:
        super().validate()
        arguments.check_choice("config_A_B", self.config_A_B, MODES["A"])
        arguments.check_choice("config_C", self.config_C, MODES["C"])
        arguments.check_choice("config_D_E", self.config_D_E, MODES["D"])
        for path in "ABDE":
            if getattr(self, f"config_{path}") is not None:
                arguments.check_choice(f"config_{path}", getattr(self, f"config_{path}"), MODES[path])
        arguments.check_choice("A_form", self.A_form, FORMS)
        arguments.check_choice("bias_free", self.bias_free, ("drop", "add"))
