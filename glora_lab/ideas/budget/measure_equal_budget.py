"""Methods at equal cost: the largest rank whose parameters stay within a budget.

LoRA and GraLoRA of one rank cost the same, r(in + out) a layer, and GLoRA costs that once for each of A and B;
C, D and E add terms of their own. So a fair comparison begins with a number of parameters, and asks each method
what it can have for it. The search asks `path_budget`, which counts what PEFT would train; no formula is used but
to guess where to begin.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping

from peft import PeftConfig
from torch import nn
from transformers import PretrainedConfig

from glora_lab.adapters.base.frozen import features
from glora_lab.adapters.checkpoints.fit import bare_tuner
from glora_lab.arguments import check_positive_int

from .measure import budget_on, path_budget
from .record import EQUAL, apart

MOST_RANKS = 64  # of a method, that an equal race is looked for among


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


def rank_table(model: nn.Module, adapter_config: PeftConfig, most: int) -> dict[int, int]:
    """Rank → parameters, of the ranks that have at most `most`, at least the smallest; one where it changes nothing.

    Args:
        model: one without an adapter. Nothing is built, so this is quick.
        adapter_config: of LoRA, GLoRA or GraLoRA on named layers, or of a method of one's own.
    """
    step, count = _smallest_rank(adapter_config), _counting(model, adapter_config)
    table = {step: count(step)}
    while table[step] != count(2 * step) and len(table) < MOST_RANKS and count(step * (len(table) + 1)) <= most:
        rank = step * (len(table) + 1)
        table[rank] = count(rank)
    return table


def equal_ranks(tables: Mapping[str, Mapping[int, int]], params: int) -> dict[str, int] | None:
    """The ranks with which all methods have as many parameters, within 2% of the largest, and that is the nearest to
    `params` of all such; None where there are none.

    Args:
        tables: method → rank → parameters, as `rank_table` gives them; of one that is to stay as it is, its own rank.
    """
    ends = {count for table in tables.values() for count in table.values()}
    for end in sorted(ends, key=lambda end: (abs(end - params), end)):
        ranks = {name: rank_within(table, end) for name, table in tables.items()}
        found = {name: rank for name, rank in ranks.items() if rank is not None}
        if len(found) == len(tables) and apart(tables[name][rank] for name, rank in found.items()) <= EQUAL:
            return found
    return None


def rank_within(table: Mapping[int, int], params: int) -> int | None:
    """The largest rank of at most so many parameters; None where the smallest has more."""
    return max((rank for rank, count in table.items() if count <= params), default=None)


def _counting(model: nn.Module, config: PeftConfig) -> Callable[[int], int]:
    """Parameters by rank: of one's own method asked of it layer by layer, of others on a line through two."""
    at, step = copy.deepcopy(config), _smallest_rank(config)
    if (trained_at := getattr(at, "trained_at", None)) is not None:
        found = bare_tuner(at).check_targets(model, at)  # type: ignore[arg-type]
        layers = {name: features(innermost) for name, innermost in found.items()}
        return lambda rank: sum(trained_at(name, into, out, rank) for name, (into, out) in layers.items())
    points = []
    for rank in (step, 2 * step):
        at.r = rank  # type: ignore[attr-defined]
        points.append(budget_on(model, at).total)
    first, second = points
    return lambda rank: first + (second - first) * (rank // step - 1)


def _smallest_rank(config: PeftConfig) -> int:
    """The rank that all others are multiples of: 1, or what every k of GraLoRA divides."""
    pattern = getattr(config, "k_pattern", None) or {}
    return math.lcm(getattr(config, "gralora_k", 1), *pattern.values())
