"""Methods at equal cost: the largest rank whose parameters stay within a budget.

LoRA and GraLoRA of one rank cost the same, r(in + out) a layer, and GLoRA costs that once for each of A and B;
C, D and E add terms of their own. So a fair comparison begins with a number of parameters, and asks each method
what it can have for it. The search asks `path_budget`, which counts what PEFT would train; no formula is used but
to guess where to begin.
"""

from __future__ import annotations

import copy
import math

from peft import PeftConfig
from torch import nn
from transformers import PretrainedConfig

from glora_lab.arguments import check_positive_int

from .measure import path_budget


def rank_for_budget(model_or_config: nn.Module | PretrainedConfig, adapter_config: PeftConfig, params: int) -> int:
    """The largest `r` with which the adapter has at most `params` trainable parameters on the model.

    Args:
        model_or_config: as `path_budget` takes it; it is left as it is.
        adapter_config: any PEFT configuration with a rank `r`; all its other settings are kept, also where they
            are of one size with the rank (`alpha`, `hybrid_r`, `rank_pattern`). It is left as it is.
        params: the budget, counted as `path_budget` counts.

    Returns:
        A rank; one that every `gralora_k` divides, for GraLoRA. One step more would be above the budget.

    Raises:
        ValueError: where the smallest rank is above the budget, no parameter depends on the rank, or the
            configuration does not fit the model.
    """
    check_positive_int("params", params)
    if not hasattr(adapter_config, "r"):
        raise ValueError(f"`adapter_config` (={type(adapter_config).__name__}) must have a rank `r`")
    step = _smallest_rank(adapter_config)

    def count(rank: int) -> int:
        config = copy.deepcopy(adapter_config)
        config.r = rank
        return path_budget(model_or_config, config).total

    smallest = count(step)
    more = count(2 * step) - smallest
    if more <= 0:
        name = type(adapter_config).__name__
        raise ValueError(f"`adapter_config` (={name}) has {smallest:,} parameters whatever its rank, so no rank fits")
    if smallest > params:
        raise ValueError(f"`params` (={params:,}) must be at least {smallest:,}: so many has rank {step}")
    rank = step * (1 + (params - smallest) // more)
    while count(rank) > params:
        rank -= step
    while count(rank + step) <= params:
        rank += step
    return rank


def _smallest_rank(config: PeftConfig) -> int:
    """The rank that all others are multiples of: 1, or what every k of GraLoRA divides."""
    pattern = getattr(config, "k_pattern", None) or {}
    return math.lcm(getattr(config, "gralora_k", 1), *pattern.values())
