"""GraloraConfig: PEFT's arguments as they are, and per-layer ranks, scalings and block counts beyond them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import peft

from glora_lab import arguments
from glora_lab.adapters.registry import LabPeftType
from glora_lab.adapters.tuner.config import LabConfig
from glora_lab.adapters.tuner.name_patterns import pattern_key

from .blocks import BlockPlan, indivisible


@dataclass
class GraloraConfig(LabConfig):
    """Settings of a GraLoRA adapter: ΔW is a grid of k×k blocks, each of rank r/k.

    Args:
        r: rank; parameters are those of LoRA of that rank, the rank of ΔW is up to k·r.
        hybrid_r: rank of a plain LoRA beside the blocks; 0 for none.
        target_modules: names (or one regular expression) of the layers to adapt; "all-linear" for all of
            them; None for PEFT's defaults for the architecture.
        alpha: ΔW is multiplied by alpha/(r + hybrid_r), or alpha/√(r + hybrid_r) with `use_rslora`.
        gralora_dropout: dropout on the input of the adapter while training.
        gralora_k: blocks per side; it divides r and the features of every layer. 1 is LoRA. The authors suggest
            2 up to rank 32 and 4 from rank 64 on.
        fan_in_fan_out: read and written as PEFT does, and not needed: how a layer keeps its weight is found
            out from the layer.
        bias: which biases of the base train as well: "none", "all" or "gralora_only".
        modules_to_save: further modules to train whole and save beside the adapter.
        init_weights: True starts as a no-op. False starts from small random values: what the adapter adds is
            about a tenth of the layer's input in size, whatever the rank and the scaling.
        layers_to_transform, layers_pattern: restrict to these layer indices, as in PEFT.
        rank_pattern, alpha_pattern, k_pattern: module pattern → r, alpha, gralora_k of the layers it matches.
        exclude_modules: names (or one regular expression) of layers to leave alone.
        use_rslora: scale by the root of the rank.
        on_indivisible: what to do with a layer whose features k does not divide: "error", or "skip" to leave
            it as it is, with one warning that names all such layers.
        target_parameters: names, or their ends, of parameters to adapt that are no layer's weight: most of all the
            experts of a mixture of experts, "experts.gate_up_proj". Each expert has a grid of blocks of its own, with
            its number as the first axis of the factors. An empty list says that experts are meant to stay as they
            are.

    Raises:
        ValueError: for a bad setting, with its name, its value and the rule.
    """

    method: ClassVar[str] = "GraLoRA"
    lab_type: ClassVar[str] = LabPeftType.GRALORA_LAB
    stock_class: ClassVar[type[peft.PeftConfig] | None] = peft.GraloraConfig

    r: int = 32
    hybrid_r: int = 0
    target_modules: list[str] | str | None = None
    alpha: float = 64
    gralora_dropout: float = 0.0
    gralora_k: int = 2
    fan_in_fan_out: bool = False
    bias: str = "none"
    modules_to_save: list[str] | None = None
    init_weights: bool = True
    layers_to_transform: list[int] | int | None = None
    layers_pattern: list[str] | str | None = None
    rank_pattern: dict[str, int] = field(default_factory=dict)
    alpha_pattern: dict[str, float] = field(default_factory=dict)
    k_pattern: dict[str, int] = field(default_factory=dict)
    exclude_modules: list[str] | str | None = None
    use_rslora: bool = False
    on_indivisible: Literal["error", "skip"] = "error"
    target_parameters: list[str] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = LabPeftType.GRALORA_LAB
        self.validate()
        for name in ("target_modules", "exclude_modules"):
            value = getattr(self, name)
            setattr(self, name, set(value) if isinstance(value, list | tuple) else value)

    def plan(
        self, layer: str, *, in_features: int, out_features: int, lead: tuple[int, ...] | None = None
    ) -> BlockPlan:
        """What this configuration puts on the layer of that name, or on the parameter, whose matrices are behind the
        axes `lead`: the patterns applied. It may not fit: `check_fit`."""
        r = self.rank_pattern.get(pattern_key(self.rank_pattern, layer), self.r)
        alpha = self.alpha_pattern.get(pattern_key(self.alpha_pattern, layer), self.alpha)
        k = self.k_pattern.get(pattern_key(self.k_pattern, layer), self.gralora_k)
        rank = r + self.hybrid_r
        divides = in_features % k == 0 and out_features % k == 0
        return BlockPlan(
            layer,
            in_features,
            out_features,
            r,
            self.hybrid_r,
            k,
            scaling=alpha / (math.sqrt(rank) if self.use_rslora else rank),
            skipped=self.on_indivisible == "skip" and not divides,
            lead=lead,
        )

    def validate(self) -> None:
        """Check every setting, again before a model is touched, for fields can be assigned after construction."""
        positive, count = (
            "should be a positive integer value",
            "should be a non-negative integer value",
        )  # in PEFT's words
        arguments.check_positive_int("r", self.r, positive)
        arguments.check_count("hybrid_r", self.hybrid_r, count)
        arguments.check_positive_int("gralora_k", self.gralora_k, positive)
        if self.r % self.gralora_k:
            words = indivisible("r", self.r, self.gralora_k)
            rule = arguments.refuse("r", self.r, f"must be divisible by `gralora_k` (={self.gralora_k})")
            raise ValueError(f"{words}: {rule}")
        arguments.check_positive_number("alpha", self.alpha)
        arguments.check_probability("gralora_dropout", self.gralora_dropout)
        arguments.check_choice("bias", self.bias, ("none", "all", "gralora_only"))
        arguments.check_choice("on_indivisible", self.on_indivisible, ("error", "skip"))
        for flag in ("fan_in_fan_out", "init_weights", "use_rslora"):
            arguments.check_flag(flag, getattr(self, flag))
        arguments.check_names("target_modules", self.target_modules)
        arguments.check_names("exclude_modules", self.exclude_modules)
        arguments.check_names("modules_to_save", self.modules_to_save, regex=False)
        arguments.check_layers(self)
        arguments.check_parameters(self.target_parameters, "gralora_dropout", self.gralora_dropout)
        checks = {
            "rank_pattern": arguments.check_positive_int,
            "alpha_pattern": arguments.check_positive_number,
            "k_pattern": arguments.check_positive_int,
        }
        for name, check in checks.items():
            for key, value in arguments.check_pattern(name, getattr(self, name)).items():
                check(f"{name}[{key!r}]", value)
