"""One of our adapters in the words of stock PEFT, or what in it stock PEFT has no words for.

`LACKS` is the one list of that. An export judges by what the layers carry: a setting that comes to nothing there
(patterns that give every layer the same, an alpha that scales by 1) is no obstacle, and layers are named one by one
where stock PEFT cannot narrow its choice. A snippet has no layers, and judges by the settings (`unsaid`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

import peft
from peft import PeftConfig
from transformers.pytorch_utils import Conv1D

from glora_lab.adapters.glora.paths import LayerPlan
from glora_lab.adapters.gralora.blocks import BlockPlan

Layers = Mapping[str, Any]
Reason = tuple[tuple[str, ...], str]  # the settings, and why stock PEFT's own of this method cannot express them

LACKS: Mapping[type[PeftConfig], Mapping[str, Reason]] = {
    peft.GloraConfig: {
        "modes": (("path_pattern",), "the modes hold for every layer"),
        "AB": (("config_A", "config_B", "path_pattern"), "one mode, config_A_B, holds for both"),
        "DE": (("config_D", "config_E", "path_pattern"), "one mode, config_D_E, holds for both"),
        "bias": (("bias_free",), "C and E are dropped on layers without a bias"),
        "form": (("A_form",), "A is elementwise"),
        "rank": (("rank_pattern",), "one rank holds for every layer"),
        "scaling": (("alpha", "alpha_pattern", "use_rslora"), "low-rank products are not scaled"),
        "dropout": (
            ("glora_dropout",),
            "there is none; it acts in training alone, so set it to 0.0 in `model.peft_config` to export what has "
            "been trained",
        ),
        "kind": (("target_modules",), "it takes nn.Linear alone, and not layers of type Conv1D"),
    },
    peft.GraloraConfig: {
        "rank": (("rank_pattern",), "one rank holds for every layer"),
        "k": (("k_pattern",), "one k holds for every layer"),
        "scaling": (("alpha_pattern", "rank_pattern", "use_rslora"), "one scaling holds for every layer"),
    },
}


def in_stock_words(config: Any, layers: Layers, adapter: str) -> tuple[PeftConfig, list[str]]:
    """PEFT's own configuration for what `layers` carry, and the settings that it cannot express, as written.

    Raises:
        ValueError: for a method that PEFT does not have.
    """
    if config.stock_class is None:
        raise ValueError(f'PEFT has no {config.method} of its own; export_peft(format="lora") writes a plain LoRA')
    stock, found = (_glora if config.stock_class is peft.GloraConfig else _gralora)(config, layers, adapter)
    reasons = (LACKS[config.stock_class][one] for one in found)
    return stock, [f"{_set(config, names)}: {why}" for names, why in reasons]


def _glora(config: Any, layers: Layers, adapter: str) -> tuple[Any, Iterator[str]]:
    plans: dict[str, LayerPlan] = {name: layer.plans[adapter] for name, layer in layers.items()}
    biased = [plan for name, plan in plans.items() if layers[name].has_bias]
    lora = [plan for plan in plans.values() if "lora" in plan.modes.values()]
    first, bias = next(iter(plans.values())), next(iter(biased), None)
    stock: Any = _shared(peft.GloraConfig, config)
    stock.r = lora[0].r if lora else config.r
    stock.config_A_B = first.modes["A"]
    stock.config_C = bias.modes["C"] if bias else config.config_C
    stock.config_D_E = bias.modes["D"] if bias else config.config_D_E
    conv1d = any(isinstance(layer.innermost, Conv1D) for layer in layers.values())
    return stock, _glora_lacks(config, list(plans.values()), biased, lora, conv1d)


def _glora_lacks(
    config: Any, every: list[LayerPlan], biased: list[LayerPlan], lora: list[LayerPlan], conv1d: bool
) -> Iterator[str]:
    for pair, among in (("AB", every), ("DE", biased)):
        if any(plan.modes[pair[0]] != plan.modes[pair[1]] for plan in among):
            yield pair
    if _differ(plan.modes["A"] for plan in every) or any(_differ(plan.modes[p] for plan in biased) for p in "CD"):
        yield "modes"
    if any(plan.modes[p] != "none" for plan in every if plan not in biased for p in "CE"):
        yield "bias"
    if any(plan.form == "product" and plan.modes["A"] in ("lora", "vector") for plan in every):
        yield "form"
    if _differ(plan.r for plan in lora):
        yield "rank"
    if any(plan.scaling != 1 for plan in lora):
        yield "scaling"
    if config.glora_dropout:
        yield "dropout"
    if conv1d:
        yield "kind"


def _gralora(config: Any, layers: Layers, adapter: str) -> tuple[Any, list[str]]:
    plans: list[BlockPlan] = [layer.plans[adapter] for layer in layers.values()]
    stock: Any = _shared(peft.GraloraConfig, config)
    stock.r, stock.gralora_k = plans[0].r, plans[0].k
    stock.alpha = alpha_for(plans[0].scaling, stock.r + stock.hybrid_r)
    stock.fan_in_fan_out = all(isinstance(layer.innermost, Conv1D) for layer in layers.values())
    values: dict[str, list[float]] = {
        "rank": [plan.r for plan in plans],
        "k": [plan.k for plan in plans],
        "scaling": [plan.scaling for plan in plans],
    }
    return stock, [name for name, them in values.items() if _differ(them)]


def unsaid(config: Any, settings: Mapping[str, Any], conv1d: bool = False) -> Iterator[str]:
    """What of `settings`, those to be said, PEFT's own configuration has no words for, each with the reason."""
    lacks = LACKS[config.stock_class]
    known = {field.name for field in fields(config.stock_class)}
    if conv1d and "kind" in lacks:
        yield lacks["kind"][1]
    modes = getattr(config, "modes", {})
    idle = set()
    if modes:
        for pair in ("AB", "DE"):
            if modes[pair[0]] != modes[pair[1]]:
                both = " with ".join(f"config_{path}={modes[path]!r}" for path in pair)
                yield f"{both}: {lacks[pair][1]}"
        idle |= {"A_form"} if modes["A"] == "none" else set()
        idle |= {"bias_free"} if all(modes[path] == "none" for path in "CDE") else set()
        idle |= {"alpha", "alpha_pattern", "use_rslora", "rank_pattern"} if "lora" not in modes.values() else set()
    for name, value in settings.items():
        if name == "init_weights":
            yield f"{name}={value!r}: it starts from values of another size there"
        elif name not in known | idle:
            why = next((rule for names, rule in lacks.values() if name in names), "there is no such setting")
            yield f"{name}={value!r}: {why}"


def alpha_for(scaling: float, rank: int) -> float:
    """The alpha that makes alpha/rank this scaling, to the bit where there is one; an integer where it is."""
    near = scaling * rank
    for alpha in (float(round(near)), near, math.nextafter(near, math.inf), math.nextafter(near, 0)):
        if alpha / rank == scaling:
            return int(alpha) if alpha.is_integer() else alpha
    return near


def _shared(stock_class: type[PeftConfig], config: Any) -> Any:
    names = {f.name for f in fields(config)}
    return stock_class(
        **{f.name: getattr(config, f.name) for f in fields(stock_class) if f.name in names and f.name != "peft_type"}
    )


def _differ(values: Iterable[Any]) -> bool:
    return len(set(values)) > 1


def _set(config: Any, names: Sequence[str]) -> str:
    """Those of these settings that are not at their default, as they were written."""
    known = {f.name: f.default if f.default_factory is MISSING else f.default_factory() for f in fields(config)}
    changed = [name for name in names if getattr(config, name) != known[name]]
    return ", ".join(f"`{name}` (={getattr(config, name)!r})" for name in changed or names[:1])
