"""What an adapter costs in parameters: per path, per layer, in all.

The count is not a formula: the configuration is attached, by PEFT, to a copy of the model without weights, and
what PEFT made is counted. So a budget is right for any method, and errors are the ones that training would meet.
"""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from collections.abc import Mapping
from typing import Any

from peft import LoraConfig, PeftConfig, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import nn
from transformers import PretrainedConfig

from glora_lab.adapters.base.frozen import features
from glora_lab.adapters.checkpoints.fit import bare_tuner
from glora_lab.adapters.glora.config import GloraConfig
from glora_lab.adapters.glora.paths import PATHS
from glora_lab.adapters.gralora.config import GraloraConfig
from glora_lab.adapters.peft_layers import table_of
from glora_lab.adapters.tuner.method_names import method_name
from glora_lab.adapters.view import adapted_layers, adapter_parameters
from glora_lab.arguments import check_kind

from .measure_skeleton import skeleton
from .record import PathBudget, PathCount


def path_budget(model_or_config: nn.Module | PretrainedConfig, adapter_config: PeftConfig | None = None) -> PathBudget:
    """Trainable parameters that an adapter has on a model.

    Args:
        model_or_config: a model, which is left as it is, or a `transformers` configuration, whose model is built
            without weights (Llama-3-70B takes about a second and no memory to speak of).
        adapter_config: any PEFT configuration; None counts the adapters that the model carries, active ones only.

    Returns:
        One row per layer and path. LoRA and other additive methods are rows of path B; modules trained whole
        (`modules_to_save`) have the path "whole".

    Raises:
        ValueError: where the configuration does not fit the model, or there is no adapter to count.
    """
    rule = "must be a model, as load_model gives one by its name, or a configuration of one, as architecture does"
    check_kind("model_or_config", model_or_config, (nn.Module, PretrainedConfig), rule)
    if adapter_config is None:
        model = model_or_config
        if isinstance(model, PretrainedConfig) or not hasattr(model, "peft_config"):
            raise ValueError("`adapter_config` (=None) counts what the model carries, but this one carries no adapter")
    else:
        check_kind("adapter_config", adapter_config, PeftConfig, "must be a configuration of PEFT, as GloraConfig is")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a budget shows inert paths in its rows
            model = get_peft_model(skeleton(model_or_config), copy.deepcopy(adapter_config))
    return _carried(model)


def budget_on(model: nn.Module, config: PeftConfig) -> PathBudget:
    """As `path_budget`, from the plans that the layers would be built by: nothing is built, and `model` stays bare.

    Args:
        model: one without an adapter, and without weights too if they are not there for anything else.
        config: of GLoRA, or a plain LoRA or GraLoRA of one rank on named layers. That of another method, which may say
            anything, is attached as `path_budget` does it.

    Raises:
        ValueError: where the configuration does not fit the model.
    """
    if not isinstance(config, GloraConfig | GraloraConfig | LoraConfig):
        return path_budget(model, config)
    if isinstance(config, GloraConfig):
        layers = bare_tuner(config).check_targets(model, config)
        plans = [config.plan_for(name, innermost) for name, innermost in layers.items()]
        rows = [PathCount(p.layer, x, p.asked[x], p.params(x), p.inert.get(x, "")) for p in plans for x in PATHS]
    else:
        mode = method_name(config) if isinstance(config, GraloraConfig) else "lora"
        rank = config.r + getattr(config, "hybrid_r", 0)  # a grid of blocks has as many as the LoRA of its rank
        alike = GloraConfig.only(B="lora", r=rank, target_modules=config.target_modules)
        tuner = bare_tuner(alike)
        layers = tuner.targets(model, alike) or tuner.check_targets(model, alike)  # which says that there are none
        rows = [PathCount(name, "B", mode, rank * sum(features(innermost))) for name, innermost in layers.items()]
    return PathBudget(
        rows=tuple(rows),
        method=method_name(config),
        model=_model_name(model),
        model_params=sum(p.numel() for p in model.parameters()),
    )


def _carried(model: nn.Module) -> PathBudget:
    layers = adapted_layers(model, parameters=True)
    configs: dict[str, Any] = model.peft_config  # type: ignore[assignment]
    rows = [row for name, layer in layers.items() for row in _layer_rows(name, layer, configs)] + _whole_modules(model)
    adapters = sum(p.numel() for layer in layers.values() for p in _all_adapter_parameters(layer))
    return PathBudget(
        rows=tuple(rows),
        method=method_name(next(iter(configs.values()))),
        model=_model_name(model),
        model_params=sum(p.numel() for p in model.parameters()) - adapters,
    )


def _layer_rows(name: str, layer: BaseTunerLayer, configs: Mapping[str, Any]) -> list[PathCount]:
    rows = []
    for adapter in layer.active_adapters:
        table = table_of(layer, configs[adapter])
        if not table.carries(adapter):
            continue
        counts: Counter[str] = Counter()
        for container, parameter in adapter_parameters(layer, adapter):
            counts[table.path_of(container)] += parameter.numel()
        inert = table.inert(adapter)
        modes = table.modes(adapter).items()
        rows += [PathCount(name, path, mode, counts[path], inert.get(path, "")) for path, mode in modes]
    return rows


def _whole_modules(model: nn.Module) -> list[PathCount]:
    wrappers = {n: m for n, m in model.named_modules() if isinstance(m, AuxiliaryTrainingWrapper)}
    counts = {n: sum(p.numel() for p in m.parameters() if p.requires_grad) for n, m in wrappers.items()}
    return [PathCount(n.removeprefix("base_model.model."), "whole", "full", c) for n, c in counts.items() if c]


def _all_adapter_parameters(layer: BaseTunerLayer) -> list[nn.Parameter]:
    return [p for name in layer._all_available_adapter_names() for _, p in adapter_parameters(layer, name)]


def _model_name(model: nn.Module) -> str:
    config = getattr(model, "config", None)
    base = model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]
    return getattr(config, "name_or_path", "") or type(base).__name__
