"""DeltaModel: the tuner that `peft.get_peft_model` builds for the configuration of a method of one's own."""

from __future__ import annotations

from typing import Any

from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
from torch import nn

from glora_lab.adapters.base.frozen import is_function
from glora_lab.adapters.registry import LabPeftType, register
from glora_lab.adapters.tuner.model import LabTuner, some
from glora_lab.adapters.tuner.parameter_layer import ParameterLayer
from glora_lab.arguments import refuse

from .config import DeltaConfig
from .layer import DeltaLayer, DeltaLinear


class DeltaModel(LabTuner):
    """A model whose targeted layers carry adapters of a DeltaMethod.

    Made by `peft.get_peft_model(model, YourMethod.config(...))`, which gives it `model`, `peft_config` (adapter name →
    configuration) and PEFT's further `args` and `kwargs`.

    Raises:
        ValueError: where the configuration matches nothing, or the method does not work on a layer; the model is then
            as it was.
    """

    prefix = DeltaConfig.prefix
    config_class = DeltaConfig
    tuner_layer_cls = DeltaLayer
    linear_layer, parameter_layer = DeltaLinear, ParameterLayer
    target_module_mapping = TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING  # type: ignore[assignment]

    def check_layers(self, model: nn.Module, targets: dict[str, nn.Module], config: DeltaConfig) -> None:
        """Every layer's method is tried out on its sizes; ValueError where it does not work on one."""
        functions = []
        for name, innermost in targets.items():
            if config.plan_for(name, innermost).facts.reads_base and is_function(innermost):
                functions.append(name)
        if functions:
            rule = f"reads W0, and {some(functions)} compute(s) more than x·W0ᵀ + b0, so that the weight need not be W0"
            raise refuse("delta_method", config.delta_method, rule)

    def add_weighted_adapter(self, *args: Any, **kwargs: Any) -> None:
        """Refused: what a method of one's own adds need not be linear in its tensors.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "add_weighted_adapter does not know how tensors of a DeltaMethod add up, for ΔW is what its `delta` makes "
            "of them: make both adapters active, or merge both with `merge_adapter(adapter_names=[...])`."
        )


register(LabPeftType.DELTA_LAB, DeltaConfig, DeltaModel)
