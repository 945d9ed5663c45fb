"""GraloraConfig: PEFT's arguments as they are, and per-layer ranks, scalings and block counts beyond them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import peft

from glora_lab import arguments
from glora_lab.adapters.registry import LabPeftType
from glora_lab.adapters.tuner.config import POSITIVE, LabConfig

from .blocks import BlockPlan, indivisible


@dataclass
class GraloraConfig(LabConfig):
    """Settings of a GraLoRA adapter: ΔW is a grid of k×k blocks, each of rank r/k (arXiv 2505.20355).

    They come to those of `LabConfig` (`target_modules`, …).

    Attributes:
        r: rank; parameters are those of LoRA of that rank, the rank of ΔW is up to k·r.
        hybrid_r: rank of a plain LoRA beside the blocks; 0 for none.
        alpha: ΔW is multiplied by alpha/(r + hybrid_r), or alpha/√(r + hybrid_r) with `use_rslora`.
        gralora_dropout: probability of dropout on the input of the adapter while training.
        gralora_k: blocks per side; it divides r and the features of every layer. 1 is LoRA. The authors suggest 2 up to
            rank 32 and 4 from rank 64 on.
        fan_in_fan_out: read and written as PEFT does, and not needed: how a layer keeps its weight is found out from
            the layer.
        init_weights: True starts as a no-op. False starts from small random values: what the adapter adds is about a
            tenth of the layer's input in size, whatever the rank and the scaling.
        k_pattern: module pattern → gralora_k of the layers it matches.
        on_indivisible: what to do with a layer whose features k does not divide: "error", or "skip" to leave it as it
            is, with one warning that names all such layers.

    Raises:
        ValueError: for a bad setting, with its name, its value and the rule.
    """

    method: ClassVar[str] = "GraLoRA"
    lab_type: ClassVar[str] = LabPeftType.GRALORA_LAB
    stock_class: ClassVar[type[peft.PeftConfig] | None] = peft.GraloraConfig
    prefix: ClassVar[str] = "gralora_"
    own_patterns: ClassVar[Any] = {"k_pattern": arguments.check_positive_int}

    r: int = 32
    hybrid_r: int = 0
    alpha: float = 64
    gralora_dropout: float = 0.0
    gralora_k: int = 2
    fan_in_fan_out: bool = False
    k_pattern: dict[str, int] = field(default_factory=dict)
    on_indivisible: Literal["error", "skip"] = "error"

    def plan(
        self,
        layer: str,
        *,
        in_features: int,
        out_features: int,
        has_bias: bool = False,
        lead: tuple[int, ...] | None = None,
    ) -> BlockPlan:
        """See `LabConfig.plan`; a bias makes no difference. It may not fit: `check_fit`."""
        r, k = self.on_layer(layer, "rank_pattern", self.r), self.on_layer(layer, "k_pattern", self.gralora_k)
        divides = in_features % k == 0 and out_features % k == 0
        return BlockPlan(
            layer,
            in_features,
            out_features,
            r,
            self.hybrid_r,
            k,
            scaling=self.scaling(layer, r + self.hybrid_r),
            skipped=self.on_indivisible == "skip" and not divides,
            lead=lead,
        )

    def validate(self) -> None:
        super().validate()
        arguments.check_count("hybrid_r", self.hybrid_r, "should be a non-negative integer value")  # in PEFT's words
        arguments.check_positive_int("gralora_k", self.gralora_k, POSITIVE)
        if self.r % self.gralora_k:
            words = indivisible("r", self.r, self.gralora_k)
            rule = arguments.refuse("r", self.r, f"must be divisible by `gralora_k` (={self.gralora_k})")
            raise ValueError(f"{words}: {rule}")
        arguments.check_choice("on_indivisible", self.on_indivisible, ("error", "skip"))
        arguments.check_flag("fan_in_fan_out", self.fan_in_fan_out)
