"""Linear layers that no adapter can act on: what they compute is no map of features, or nobody calls them.

A module may take the weight of a layer in it to a function of its own, and an adapter there does nothing. Two kinds of
these are known beforehand.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from glora_lab.adapters.base.frozen import SUPPORTED, is_map
from glora_lab.adapters.base.kind import verdict
from glora_lab.arguments import ALL_LINEAR, some

# PEFT refuses out_proj for these; their kernels take its weight
STATE_SPACE = ("falcon_h1", "mamba", "mamba2", "falcon_mamba", "nemotron_h")


def known_uncalled(model: nn.Module, names: Iterable[str]) -> dict[str, str]:
    """Name → why, of those among `names` that are known not to be called."""
    architecture = getattr(getattr(model, "config", None), "model_type", None)
    found = {}
    for name in names:
        above, _, own = name.rpartition(".")
        parent: Any = model.get_submodule(above)
        if isinstance(parent, nn.MultiheadAttention) and type(parent).forward is nn.MultiheadAttention.forward:
            found[name] = "nn.MultiheadAttention reads its weight and never calls it"
        elif own == "out_proj" and architecture in STATE_SPACE:
            found[name] = f"the kernels of {architecture} read its weight and do not call it"
    return found


def names_layers(config: Any) -> bool:
    """Whether the layers were named, and not chosen for being linear, or by PEFT's defaults."""
    modules = config.target_modules
    return modules is not None and not (isinstance(modules, str) and modules.lower() == ALL_LINEAR)


def unfit_layers(model: nn.Module, targets: dict[str, nn.Module]) -> dict[str, str]:
    """Name → why, of linear layers that no adapter can act on."""
    linear = {name: innermost for name, innermost in targets.items() if isinstance(innermost, SUPPORTED)}
    odd = {
        name: f"{type(innermost).__name__} {verdict(innermost).why}"
        for name, innermost in linear.items()
        if not is_map(innermost)
    }
    return known_uncalled(model, linear) | odd


def with_reasons(unfit: dict[str, str]) -> str:
    """Layers with the reason that they share, for a sentence."""
    by_reason: dict[str, list[str]] = {}
    for name, why in unfit.items():
        by_reason.setdefault(why, []).append(name)
    return "; ".join(f"{some(names)}: {why}" for why, names in by_reason.items())
