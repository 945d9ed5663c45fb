"""Layers whose weight or bias is no parameter but is computed: parametrised, weight- or spectral-normalised, pruned.

Torch does this in two ways: a parametrisation is a property that computes when it is read, and the older hooks compute
before a forward and leave the result lying on the module, where it may be out of date. Either way W0 may be read, in
evaluation mode, for a spectral norm goes on iterating in training; what is written over it is lost, or stands beside
what the next forward computes.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from .parameter import ParameterAsLayer

COMPUTED = ("weight", "bias")
HOOKS = (BasePruningMethod, WeightNorm, SpectralNorm)


def is_computed(layer: nn.Module | ParameterAsLayer) -> bool:
    """Whether the weight or the bias is no parameter of the layer's own."""
    return not isinstance(layer, ParameterAsLayer) and any(name not in layer._parameters for name in COMPUTED)


def how_computed(layer: nn.Module) -> str:
    """What is computed, and by what, for a sentence: "weight (_WeightNorm)"."""
    said = []
    for name in COMPUTED:
        if name not in layer._parameters:
            by = [type(step).__name__ for step in _steps(layer, name)]
            said.append(f"{name} ({', '.join(by) or 'a tensor'})")
    return " and ".join(said)


def value_of(layer: nn.Module, name: str) -> Tensor | None:
    """What a forward pass would compute now, and, after one, what it has computed."""
    steps = [] if torch.compiler.is_compiling() else _steps(layer, name)
    for hook in steps:
        if isinstance(hook, BasePruningMethod):
            return cast(Tensor, hook.apply_mask(layer))
        if isinstance(hook, WeightNorm):
            return cast(Tensor, hook.compute_weight(layer))
        if isinstance(hook, SpectralNorm):
            return hook.compute_weight(layer, do_power_iteration=False)
    modes = [(module, module.training) for step in steps for module in cast(nn.Module, step).modules()]
    try:
        for module, _ in modes:
            module.training = False
        return cast("Tensor | None", getattr(layer, name))
    finally:
        for module, training in modes:
            module.training = training


def _steps(layer: nn.Module, name: str) -> list[object]:
    """The parametrisations of a tensor, or the hooks that compute it."""
    parametrisations = layer._modules.get("parametrizations")
    if parametrisations is not None and name in parametrisations._modules:
        return list(parametrisations.get_submodule(name).children())
    hooks = [hook for hook in layer._forward_pre_hooks.values() if isinstance(hook, HOOKS)]
    return [hook for hook in hooks if getattr(hook, "_tensor_name", getattr(hook, "name", None)) == name]
