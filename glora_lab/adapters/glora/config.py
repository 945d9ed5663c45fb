"""GloraConfig: PEFT's arguments as they are, and what the method needs beyond them.

PEFT names its modes jointly (`config_A_B`, `config_D_E`), which cannot say LoRA (B alone), BitFit (E alone)
or SSF (A, D and E). We keep the joint names as shorthand, so that every stock configuration reads the same
here, and let `config_A`, `config_B`, `config_D` and `config_E` override them one by one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import peft

from glora_lab import arguments
from glora_lab.adapters.registry import LabPeftType
from glora_lab.adapters.tuner.config import LabConfig
from glora_lab.adapters.tuner.name_patterns import pattern_key

from .paths import FORMS, MODES, PATHS, LayerPlan, plan_layer

# path → the setting that holds its mode where it has none of its own
SHORTHAND = {"A": "config_A_B", "B": "config_A_B", "C": "config_C", "D": "config_D_E", "E": "config_D_E"}
Mode = Literal["lora", "vector", "constant", "none"]


@dataclass
class GloraConfig(LabConfig):
    """Settings of a GLoRA adapter: W_eff = W0 + W0⊙A + B, b_eff = b0 + b0⊙D + E + W0·C.

    Args:
        r: rank of every path in mode `lora`.
        target_modules: names (or one regular expression) of the layers to adapt; "all-linear" for all of
            them; None for PEFT's defaults for the architecture.
        bias: which biases of the base train as well: "none", "all" or "glora_only".
        modules_to_save: further modules to train whole and save beside the adapter.
        config_A_B, config_C, config_D_E: mode per pair of paths, as in PEFT.
        init_weights: True starts as a no-op. False starts from small random values: each weight term changes
            a layer's output by about a tenth of what it acts on.
        config_A, config_B, config_D, config_E: mode of one path, over the shorthand.
        A_form: "elementwise" (W0⊙A, the authors' code) or "product" (W0·A, the paper's figure).
        alpha: None leaves the low-rank products as they are, as the authors do; else they are
            multiplied by alpha/r, or alpha/√r with `use_rslora`.
        glora_dropout: dropout on the input of the A and B terms while training.
        bias_free: what C, D and E do on a layer without bias: "drop" leaves them out (as PEFT), "add" keeps
            E and W0·C as in the authors' code, and merging then gives the layer a bias.
        rank_pattern, alpha_pattern: module pattern → rank, alpha of the layers it matches.
        path_pattern: module pattern → {path: mode}, what a path search returns.
        exclude_modules: names (or one regular expression) of layers to leave alone.
        layers_to_transform, layers_pattern: restrict to these layer indices, as in PEFT.
        target_parameters: names, or their ends, of parameters to adapt that are no layer's weight: most of all the
            experts of a mixture of experts, "experts.gate_up_proj". Each expert has its own W0, A and B, with its
            number as the first axis; a vector has one value per output (in form "product", for A, per input) of an
            expert, see base/parameter.py for which axis that is. C, D and E change a bias and are inert here, also
            where a module keeps its experts' biases as a further parameter. An empty list says that experts are
            meant to stay as they are.

    Raises:
        ValueError: for a bad setting, with its name, its value and the rule.
    """

    method: ClassVar[str] = "GLoRA"
    lab_type: ClassVar[str] = LabPeftType.GLORA_LAB
    stock_class: ClassVar[type[peft.PeftConfig] | None] = peft.GloraConfig

    r: int = 8
    target_modules: list[str] | str | None = None
    bias: str = "none"
    modules_to_save: list[str] | None = None
    config_A_B: Mode = "lora"
    config_C: Literal["lora", "vector", "none"] = "lora"
    config_D_E: Literal["vector", "constant", "none"] = "constant"
    init_weights: bool = True
    config_A: Mode | None = None
    config_B: Mode | None = None
    config_D: Literal["vector", "constant", "none"] | None = None
    config_E: Literal["vector", "constant", "none"] | None = None
    A_form: Literal["elementwise", "product"] = "elementwise"
    alpha: float | None = None
    use_rslora: bool = False
    glora_dropout: float = 0.0
    bias_free: Literal["drop", "add"] = "drop"
    rank_pattern: dict[str, int] = field(default_factory=dict)
    alpha_pattern: dict[str, float] = field(default_factory=dict)
    path_pattern: dict[str, dict[str, str]] = field(default_factory=dict)
    exclude_modules: list[str] | str | None = None
    layers_to_transform: list[int] | int | None = None
    layers_pattern: list[str] | str | None = None
    target_parameters: list[str] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = LabPeftType.GLORA_LAB
        self.validate()
        for name in ("target_modules", "exclude_modules"):
            value = getattr(self, name)
            setattr(self, name, set(value) if isinstance(value, list | tuple) else value)

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
        self,
        layer: str,
        *,
        in_features: int,
        out_features: int,
        has_bias: bool,
        lead: tuple[int, ...] | None = None,
    ) -> LayerPlan:
        """What this configuration puts on the layer of that name, or on the parameter, whose matrices are behind the
        axes `lead`: the patterns applied, inert paths found."""
        r = self.rank_pattern.get(pattern_key(self.rank_pattern, layer), self.r)
        alpha = self.alpha_pattern.get(pattern_key(self.alpha_pattern, layer), self.alpha)
        paths = self.path_pattern.get(pattern_key(self.path_pattern, layer), {})
        return plan_layer(
            layer,
            {**self.modes, **paths},
            in_features=in_features,
            out_features=out_features,
            has_bias=has_bias,
            bias_free=self.bias_free,
            r=r,
            scaling=1.0 if alpha is None else alpha / (math.sqrt(r) if self.use_rslora else r),
            form=self.A_form,
            lead=lead,
        )

    def validate(self) -> None:
        """Check every setting, again before a model is touched, for fields can be assigned after construction."""
        arguments.check_positive_int("r", self.r)
        self._check_modes()
        arguments.check_choice("A_form", self.A_form, FORMS)
        arguments.check_choice("bias", self.bias, ("none", "all", "glora_only"))
        arguments.check_choice("bias_free", self.bias_free, ("drop", "add"))
        arguments.check_flag("init_weights", self.init_weights)
        arguments.check_flag("use_rslora", self.use_rslora)
        arguments.check_probability("glora_dropout", self.glora_dropout)
        if self.alpha is not None:
            arguments.check_positive_number("alpha", self.alpha)
        elif self.use_rslora and not self.alpha_pattern:
            raise arguments.refuse("use_rslora", True, "scales by alpha/√r, so `alpha` must be set too")
        arguments.check_names("target_modules", self.target_modules)
        arguments.check_names("exclude_modules", self.exclude_modules)
        arguments.check_names("modules_to_save", self.modules_to_save, regex=False)
        arguments.check_layers(self)
        arguments.check_parameters(self.target_parameters, "glora_dropout", self.glora_dropout)
        self._check_patterns()

    def _check_modes(self) -> None:
        arguments.check_choice("config_A_B", self.config_A_B, MODES["A"])
        arguments.check_choice("config_C", self.config_C, MODES["C"])
        arguments.check_choice("config_D_E", self.config_D_E, MODES["D"])
        for path in "ABDE":
            if getattr(self, f"config_{path}") is not None:
                arguments.check_choice(f"config_{path}", getattr(self, f"config_{path}"), MODES[path])

    def _check_patterns(self) -> None:
        for key, r in arguments.check_pattern("rank_pattern", self.rank_pattern).items():
            arguments.check_positive_int(f"rank_pattern[{key!r}]", r)
        for key, alpha in arguments.check_pattern("alpha_pattern", self.alpha_pattern).items():
            arguments.check_positive_number(f"alpha_pattern[{key!r}]", alpha)
        for key, modes in arguments.check_pattern("path_pattern", self.path_pattern).items():
            name = f"path_pattern[{key!r}]"
            if not isinstance(modes, Mapping) or not set(modes) <= set(PATHS):
                raise arguments.refuse(name, modes, "must be a dict from path (A, B, C, D, E) to mode")
            for path, mode in modes.items():
                arguments.check_choice(f"{name}[{path!r}]", mode, MODES[path])
