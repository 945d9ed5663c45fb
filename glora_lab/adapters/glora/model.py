"""GloraModel: the tuner that `peft.get_peft_model` builds for a GloraConfig."""

from __future__ import annotations

import warnings

from peft.utils import TRANSFORMERS_MODELS_TO_GLORA_TARGET_MODULES_MAPPING
from torch import nn

from glora_lab.adapters.base.frozen import is_function, is_quantised
from glora_lab.adapters.registry import LabPeftType, register
from glora_lab.adapters.tuner.model import LabTuner, some

from .config import SHORTHAND, GloraConfig
from .layer import GloraLayer, GloraLinear, GloraParameter, by_entry_of_a_function
from .paths import PATHS
from .weighted import config_of_paths, weighted_paths


class GloraModel(LabTuner):
    """A model whose targeted layers carry GLoRA adapters.

    Made by `peft.get_peft_model(model, GloraConfig(...))`, which gives it `model`, `peft_config` (adapter name →
    configuration) and PEFT's further `args` and `kwargs`.

    Raises:
        ValueError: where the configuration matches nothing, matches a layer of an unsupported type, or leaves
            nothing to train; the model is then as it was.
    """

    prefix = GloraConfig.prefix
    config_class = GloraConfig
    tuner_layer_cls = GloraLayer
    linear_layer, parameter_layer = GloraLinear, GloraParameter
    weighted, config_of_sums = staticmethod(weighted_paths), staticmethod(config_of_paths)
    target_module_mapping = TRANSFORMERS_MODELS_TO_GLORA_TARGET_MODULES_MAPPING  # type: ignore[assignment]

    def check_layers(self, model: nn.Module, targets: dict[str, nn.Module], config: GloraConfig) -> None:
        plans = [config.plan_for(name, innermost) for name, innermost in targets.items()]
        by_entry = [p.layer for p in plans if p.elementwise and is_quantised(targets[p.layer])]
        if by_entry:
            raise ValueError(
                f"Path A in mode lora multiplies W0 entry by entry, and {some(by_entry)} keep W0 quantised: use "
                "A_form='product', which multiplies W0 as a whole, or config_A='vector', 'constant' or 'none'."
            )
        functions = [p.layer for p in plans if p.elementwise and is_function(targets[p.layer])]
        if functions:
            raise ValueError(by_entry_of_a_function(some(functions), targets[functions[0]]))
        if any(plan.total for plan in plans) or self.trains_beside(model, targets, config):
            return
        off = [path for path in PATHS if all(plan.asked[path] == "none" for plan in plans)]
        why = [f"switched off: {', '.join(off)} ({_fields(config, off)})"] if off else []
        reasons = {f"{path} ({why})" for plan in plans for path, why in plan.inert.items()}
        why += [f"inert: {', '.join(sorted(reasons))}"] if reasons else []
        # with bias_free="drop" alone are C and E inert; D needs a bias to scale
        dropped = any({"C", "E"} & plan.inert.keys() for plan in plans if plan.lead is None)
        add = ", or bias_free='add' to keep E and W0·C" if dropped else ""
        raise ValueError(
            f"This GloraConfig leaves nothing to train in {some(list(targets))}: {'; '.join(why)}. "
            f"Give A or B a mode, e.g. config_B='lora'{add}."
        )

    def report(self, adapter_name: str) -> None:
        """One warning that names the inert paths and their layers."""
        layers: dict[str, list[str]] = {}  # the same inert paths for the same reasons → their layers
        for layer in self.model.modules():
            if isinstance(layer, GloraLayer) and adapter_name in layer.plans and layer.plans[adapter_name].inert:
                inert = layer.plans[adapter_name].inert
                paths = [
                    f"{', '.join(p for p in inert if inert[p] == why)} ({why})" for why in dict.fromkeys(inert.values())
                ]
                layers.setdefault(", ".join(paths), []).append(layer.layer_name)
        if layers:
            lines = [f"{paths} in {some(names)}" for paths, names in layers.items()]
            warnings.warn(f"Inert GLoRA paths, which add no parameters: {'; '.join(lines)}.", stacklevel=2)


def _fields(config: GloraConfig, off: list[str]) -> str:
    """The settings that switch these paths off, as they would be written."""
    said = []
    for path in off:
        own = f"config_{path}"
        name = SHORTHAND[path] if getattr(config, own) is None else own
        said.append("path_pattern" if config.modes[path] != "none" else f"{name}={getattr(config, name)!r}")
    return ", ".join(dict.fromkeys(said))


register(LabPeftType.GLORA_LAB, GloraConfig, GloraModel)
