"""GloraModel: the tuner that `peft.get_peft_model` builds for a GloraConfig."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from peft.utils import TRANSFORMERS_MODELS_TO_GLORA_TARGET_MODULES_MAPPING
from torch import nn

from glora_lab.adapters.base.frozen import features, is_function, is_quantised, lead
from glora_lab.adapters.registry import LabPeftType, register
from glora_lab.adapters.tuner.model import LabTuner, some
from glora_lab.adapters.tuner.weighted import Request, Sums

from .config import SHORTHAND, GloraConfig
from .layer import GloraLayer, GloraLinear, GloraParameter, by_entry_of_a_function
from .paths import PATHS, LayerPlan
from .weighted import config_of_paths, weighted_paths


class GloraModel(LabTuner):
    """A model whose targeted layers carry GLoRA adapters. Made by `peft.get_peft_model(model, GloraConfig(...))`.

    Raises:
        ValueError: where the configuration matches nothing, matches a layer of an unsupported type, or leaves
            nothing to train; the model is then as it was.
    """

    prefix = "glora_"
    config_class = GloraConfig
    tuner_layer_cls = GloraLayer
    parameter_layer = GloraParameter
    own_patterns = ("path_pattern",)
    target_module_mapping = TRANSFORMERS_MODELS_TO_GLORA_TARGET_MODULES_MAPPING  # type: ignore[assignment]

    def _create_and_replace(
        self,
        peft_config: GloraConfig,  # type: ignore[override]
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        **kwargs: Any,
    ) -> None:
        if isinstance(target, GloraLinear):
            target.update_layer(adapter_name, peft_config)
        else:
            self.put(GloraLinear(target, adapter_name, peft_config, current_key), parent, target_name)

    def check_layers(self, model: nn.Module, targets: dict[str, nn.Module], config: GloraConfig) -> None:
        plans = [_plan(config, name, innermost) for name, innermost in targets.items()]
        by_entry = [p.layer for p in plans if p.elementwise and is_quantised(targets[p.layer])]
        if by_entry:
            raise ValueError(
                f"Path A in mode lora multiplies W0 entry by entry, and {some(by_entry)} keep W0 quantised: use "
                "A_form='product', which multiplies W0 as a whole, or config_A='vector', 'constant' or 'none'."
            )
        own_way = [p.layer for p in plans if p.elementwise and is_function(targets[p.layer])]
        if own_way:
            raise ValueError(by_entry_of_a_function(some(own_way), targets[own_way[0]]))
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

    def weighted(self, name: str, layer: GloraLayer, request: Request) -> Sums:
        return weighted_paths(name, layer, request)

    def config_of_sums(self, request: Request, layers: Mapping[str, Any], sums: Mapping[str, Sums]) -> Any:
        return config_of_paths(request, layers, sums)

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


def _plan(config: GloraConfig, name: str, innermost: Any) -> LayerPlan:
    in_features, out_features = features(innermost)
    has_bias = getattr(innermost, "bias", None) is not None
    sizes = {"in_features": in_features, "out_features": out_features}
    return config.plan(name, **sizes, has_bias=has_bias, lead=lead(innermost))


register(LabPeftType.GLORA_LAB, GloraConfig, GloraModel)
