"""GraloraModel: the tuner that `peft.get_peft_model` builds for a GraloraConfig."""

from __future__ import annotations

import warnings
from typing import Any

from peft.utils import TRANSFORMERS_MODELS_TO_GRALORA_TARGET_MODULES_MAPPING
from torch import nn

from glora_lab.adapters.registry import LabPeftType, register
from glora_lab.adapters.tuner.model import LabTuner, some

from .blocks import BlockPlan, check_fit
from .config import GraloraConfig
from .layer import GraloraLayer, GraloraLinear, GraloraParameter
from .weighted import config_of_blocks, weighted_blocks


class GraloraModel(LabTuner):
    """A model whose targeted layers carry GraLoRA adapters.

    Made by `peft.get_peft_model(model, GraloraConfig(...))`, which gives it `model`, `peft_config` (adapter name →
    configuration) and PEFT's further `args` and `kwargs`.

    Raises:
        ValueError: where the configuration matches nothing, matches a layer of an unsupported type or one that k
            does not divide, or leaves nothing to train; the model is then as it was.
    """

    prefix = GraloraConfig.prefix
    config_class = GraloraConfig
    tuner_layer_cls = GraloraLayer
    linear_layer, parameter_layer = GraloraLinear, GraloraParameter
    weighted, config_of_sums = staticmethod(weighted_blocks), staticmethod(config_of_blocks)
    target_module_mapping = TRANSFORMERS_MODELS_TO_GRALORA_TARGET_MODULES_MAPPING  # type: ignore[assignment]

    def skips(self, config: GraloraConfig, name: str, innermost: Any) -> bool:
        return config.plan_for(name, innermost).skipped

    def check_layers(self, model: nn.Module, targets: dict[str, nn.Module], config: GraloraConfig) -> None:
        plans = [config.plan_for(name, innermost) for name, innermost in targets.items()]
        check_fit(plans, config.gralora_k)
        if all(plan.skipped for plan in plans) and not self.trains_beside(model, targets, config):
            raise ValueError(
                f"This GraloraConfig leaves nothing to train: with on_indivisible='skip', {_skipped(plans)} remain as "
                "they are, and these are all that it targets. Give them a k that fits in `gralora_k` or `k_pattern`."
            )

    def report(self, adapter_name: str) -> None:
        """One warning that names the layers that were skipped."""
        config: Any = self.peft_config[adapter_name]
        if config.on_indivisible != "skip":
            return
        plans = [config.plan_for(name, innermost) for name, innermost in self.targets(self.model, config).items()]
        if any(plan.skipped for plan in plans):
            said = f"Indivisible layers, which GraLoRA leaves as they are (on_indivisible='skip'): {_skipped(plans)}."
            warnings.warn(said, stacklevel=2)


def _skipped(plans: list[BlockPlan]) -> str:
    by_k: dict[int, list[str]] = {}
    for plan in plans:
        if plan.skipped:
            by_k.setdefault(plan.k, []).append(plan.layer)
    return "; ".join(f"{some(names)}, which k={k} does not divide" for k, names in by_k.items())


register(LabPeftType.GRALORA_LAB, GraloraConfig, GraloraModel)
