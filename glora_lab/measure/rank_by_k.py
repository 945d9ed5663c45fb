"""What rank the whole ΔW has for every k that a layer allows, from real layers with random values."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from glora_lab.adapters import GraloraConfig, GraloraLinear
from glora_lab.adapters.block_plan import fitting_k
from glora_lab.adapters.frozen_base import features
from glora_lab.records import RankAtK

from .blocks import block_grid

LAYER = "layer"


@torch.no_grad()
def rank_by_k(layer: nn.Module, config: GraloraConfig, *, seed: int = 0) -> list[RankAtK]:
    """The rank of the whole ΔW for every k that fits, each from a real layer with random values.

    Args:
        layer: the linear layer (or Conv1D) to adapt; it is left as it is.
        config: rank and hybrid rank; its own gralora_k and initial values are not used.
        seed: of the random values; the global generator is left as it was.

    Returns:
        One row for each k that divides r and the features; `params` counted on the layer's own tensors.
    """
    rows = []
    for k in fitting_k(*features(layer), config.r):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            random = replace(config, gralora_k=k, k_pattern={}, rank_pattern={}, init_weights=False)
            adapted = GraloraLinear(layer, "default", random, layer_name=LAYER)
        held = (getattr(adapted, container) for container in adapted.adapter_layer_names)
        params = sum(parameter.numel() for container in held for parameter in container.parameters())
        rank = block_grid(nn.ModuleDict({LAYER: adapted}), LAYER).rank
        rows.append(RankAtK(k, int(rank or 0), params))
    return rows
