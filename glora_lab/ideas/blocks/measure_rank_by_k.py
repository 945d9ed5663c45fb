"""What rank the whole ΔW has for every k that a layer allows, from real layers with random values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from glora_lab.adapters import GraloraConfig, GraloraLinear
from glora_lab.adapters.base.frozen import SUPPORTED, features
from glora_lab.adapters.gralora.blocks import fitting_k
from glora_lab.adapters.view import adapter_parameters
from glora_lab.arguments import check_kind, check_seed

from .measure import block_grid
from .record import RankAtK

LAYER = "layer"


@torch.no_grad()
def rank_by_k(layer: nn.Module, config: GraloraConfig, *, seed: int = 0) -> list[RankAtK]:
    """The rank of the whole ΔW for every k that fits, each from a real layer with random values.

    It is the least of k·r, in and out where r is at most in/k and out/k (arXiv 2505.20355), and is measured here.

    Args:
        layer: the linear layer (or Conv1D) to adapt; it is left as it is.
        config: rank and hybrid rank; its own gralora_k is not used, nor are its initial values.
        seed: of the random values; the global generator is left as it was.

    Returns:
        One row for each k that divides r and the features; `params` counted on the layer's own tensors.

    Raises:
        ValueError: for a layer that is not linear, or a configuration of another method.
    """
    check_kind("layer", layer, SUPPORTED, "must be a linear layer, nn.Linear or Conv1D")
    check_kind("config", config, GraloraConfig, "must be a GraloraConfig")
    check_seed(seed)
    rows = []
    for k in fitting_k(*features(layer), config.r):
        adapted = with_blocks(layer, replace(config, gralora_k=k, init_weights=False), seed=seed)
        found: Any = adapted[LAYER]
        params = sum(parameter.numel() for _, parameter in adapter_parameters(found, "default"))
        rows.append(RankAtK(k, int(block_grid(adapted, LAYER).rank or 0), params))
    return rows


@torch.no_grad()
def with_blocks(layer: nn.Module, config: GraloraConfig, *, seed: int) -> nn.ModuleDict:
    """A model of one GraLoRA layer named `LAYER` over `layer`, which is left as it is; seeded initial values.

    Random ones are the same numbers at every k: those of LoRA's two factors, cut where k says.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        adapted = nn.ModuleDict({LAYER: GraloraLinear(layer, "default", config, layer_name=LAYER)})
    if not config.init_weights and config.gralora_k > 1:
        whole: Any = with_blocks(layer, replace(config, gralora_k=1), seed=seed)[LAYER]
        found: Any = adapted[LAYER]
        a, b = found.gralora_A["default"], found.gralora_B["default"]  # (k, i, r), (k, r, o)
        a.copy_(whole.gralora_A["default"].view_as(a))
        b.copy_(whole.gralora_B["default"].view(b.shape[1], len(b), -1).transpose(0, 1))
    return adapted
