"""One of our adapters in the words of stock PEFT's GLORA or GRALORA, or what in it they have no words for.

Judged by what the layers carry: a setting that comes to nothing here (patterns that give every layer the same, an
alpha that scales by 1) is no obstacle, and layers are named one by one where stock PEFT cannot narrow its choice.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, fields
from typing import Any

import peft
from peft import PeftConfig
from transformers.pytorch_utils import Conv1D

from glora_lab.adapters.glora.paths import LayerPlan
from glora_lab.adapters.gralora.blocks import BlockPlan

Layers = Mapping[str, Any]


def stock_glora(config: Any, layers: Layers, adapter: str) -> tuple[PeftConfig, list[str]]:
    """PEFT's GloraConfig for what `layers` carry, and the settings that it cannot express, as written."""
    plans: dict[str, LayerPlan] = {name: layer.plans[adapter] for name, layer in layers.items()}
    biased = [plan for name, plan in plans.items() if layers[name].has_bias]
    lora = [plan for plan in plans.values() if "lora" in plan.modes.values()]
    first, bias = next(iter(plans.values())), next(iter(biased), None)
    stock: Any = _shared(peft.GloraConfig, config)
    stock.r = lora[0].r if lora else config.r
    stock.config_A_B = first.modes["A"]
    stock.config_C = bias.modes["C"] if bias else config.config_C
    stock.config_D_E = bias.modes["D"] if bias else config.config_D_E
    reasons = [*_glora_reasons(config, plans, biased, lora), *_kinds(layers)]
    return stock, reasons


def _glora_reasons(
    config: Any, plans: Mapping[str, LayerPlan], biased: list[LayerPlan], lora: list[LayerPlan]
) -> Iterator[str]:
    every = list(plans.values())
    for pair, among in (("AB", every), ("DE", biased)):
        if any(plan.modes[pair[0]] != plan.modes[pair[1]] for plan in among):
            own = _set(config, [f"config_{pair[0]}", f"config_{pair[1]}", "path_pattern"])
            yield f"{own}: one mode, config_{pair[0]}_{pair[1]}, holds for both"
    if _differ(plan.modes[p] for p in "A" for plan in every) or any(
        _differ(plan.modes[p] for plan in biased) for p in "CD"
    ):
        yield f"{_set(config, ['path_pattern'])}: the modes hold for every layer"
    if any(plan.modes[p] != "none" for plan in every if plan not in biased for p in "CE"):
        yield f"{_set(config, ['bias_free'])}: C and E are dropped on layers without a bias"
    if any(plan.form == "product" and plan.modes["A"] in ("lora", "vector") for plan in every):
        yield f"{_set(config, ['A_form'])}: A is elementwise"
    if _differ(plan.r for plan in lora):
        yield f"{_set(config, ['rank_pattern'])}: one rank holds for every layer"
    if any(plan.scaling != 1 for plan in lora):
        yield f"{_set(config, ['alpha', 'alpha_pattern', 'use_rslora'])}: low-rank products are not scaled"
    if config.glora_dropout:
        yield (
            f"{_set(config, ['glora_dropout'])}: there is none; it acts in training alone, so set it to 0.0 in "
            "`model.peft_config` to export what has been trained"
        )


def stock_gralora(config: Any, layers: Layers, adapter: str) -> tuple[PeftConfig, list[str]]:
    """PEFT's GraloraConfig for what `layers` carry, and the settings that it cannot express, as written."""
    plans: list[BlockPlan] = [layer.plans[adapter] for layer in layers.values()]
    stock: Any = _shared(peft.GraloraConfig, config)
    stock.r, stock.gralora_k = plans[0].r, plans[0].k
    stock.alpha = alpha_for(plans[0].scaling, stock.r + stock.hybrid_r)
    stock.fan_in_fan_out = all(isinstance(layer.innermost, Conv1D) for layer in layers.values())
    reasons = []
    if _differ(plan.r for plan in plans):
        reasons.append(f"{_set(config, ['rank_pattern'])}: one rank holds for every layer")
    if _differ(plan.k for plan in plans):
        reasons.append(f"{_set(config, ['k_pattern'])}: one k holds for every layer")
    if _differ(plan.scaling for plan in plans):
        names = ["alpha_pattern", "rank_pattern", "use_rslora"]
        reasons.append(f"{_set(config, names)}: one scaling holds for every layer")
    return stock, reasons


def alpha_for(scaling: float, rank: int) -> float:
    """The alpha that makes alpha/rank this scaling, to the bit where there is one; an integer where it is."""
    near = scaling * rank
    for alpha in (float(round(near)), near, math.nextafter(near, math.inf), math.nextafter(near, 0)):
        if alpha / rank == scaling:
            return int(alpha) if alpha.is_integer() else alpha
    return near


def _kinds(layers: Layers) -> Iterator[str]:
    if any(isinstance(layer.innermost, Conv1D) for layer in layers.values()):
        yield "`target_modules`: layers of type Conv1D are not supported"


def _shared(stock_class: type[PeftConfig], config: Any) -> Any:
    names = {f.name for f in fields(config)}
    return stock_class(
        **{f.name: getattr(config, f.name) for f in fields(stock_class) if f.name in names and f.name != "peft_type"}
    )


def _differ(values: Iterable[Any]) -> bool:
    return len(set(values)) > 1


def _set(config: Any, names: list[str]) -> str:
    """Those of these settings that are not at their default, as they were written."""
    known = {f.name: f.default if f.default_factory is MISSING else f.default_factory() for f in fields(config)}
    changed = [name for name in names if getattr(config, name) != known[name]]
    return ", ".join(f"`{name}` (={getattr(config, name)!r})" for name in changed or names[:1])
