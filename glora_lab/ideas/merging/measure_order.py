"""Two adapters on one weight: merged together they add up, merged one after the other they may not.

A method whose change depends on the weight, as GLoRA's A, C and D do, changes what the first one left. Both ways are
merges of the real layer, in float64: what is off is no rounding.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from glora_lab.adapters.tuner.method_names import method_name
from glora_lab.adapters.view import carried, find_layer
from glora_lab.arguments import check_is, refuse

from .record import MergeOrder


def merge_order(model: nn.Module, layer: str, names: tuple[str, str] | None = None) -> MergeOrder:
    """How far off two adapters are when one is merged into what the other left, and when both are merged at once.

    Both act on the original weight, W0 + Σ(W0⊙Aᵢ + Bᵢ): in turn the second would multiply the first one's work.

    Args:
        model: a model with two adapters on that layer, of this library or stock PEFT's, none of them merged. It is left
            as it is.
        layer: the name of an adapted layer, or an unambiguous end of one.
        names: the two adapters; None for the layer's first two.

    Raises:
        ValueError: where the layer or one of the adapters is not there, or one is merged.
    """
    name, found = find_layer(model, layer)
    adapters = carried(found)
    check_is("names", names, (tuple, list), "must be the names of two adapters")
    pair = tuple(adapters[:2]) if names is None else tuple(names)
    if len(pair) != 2 or not set(pair) <= set(adapters):
        there = ", ".join(adapters)
        raise refuse("names", pair, f"must be two adapters of {name}, which carries {there}")
    if found.merged:
        raise ValueError(f"`layer` (={name!r}) has an adapter merged: unmerge first")
    start = _numbers(_copied(found))
    alone = {adapter: _merged(found, [adapter], start) - start for adapter in pair}
    wanted = sum(alone.values(), start)
    size = float((wanted - start).norm()) or 1.0
    in_turn = []
    for order in (pair, pair[::-1]):
        now = start
        for adapter in order:
            now = _merged(found, [adapter], now)
        in_turn.append(float((now - wanted).norm()) / size)
    together = float((_merged(found, list(pair), start) - wanted).norm()) / size
    config = getattr(model, "peft_config", {}).get(pair[0])
    method = "" if config is None else method_name(config).removeprefix("stock ")
    return MergeOrder(name, (pair[0], pair[1]), together, (in_turn[0], in_turn[1]), method)


def _copied(found: Any) -> Any:
    return copy.deepcopy(found).double().requires_grad_(False)


@torch.no_grad()
def _merged(found: Any, adapters: list[str], base: Tensor) -> Tensor:
    """Weight and bias in one row after these were merged into a base with these numbers."""
    layer, at = _copied(found), 0
    for part in _parts(layer):
        part.copy_(base[at : at + part.numel()].view_as(part))
        at += part.numel()
    layer.merge(adapter_names=adapters)
    return _numbers(layer)


def _parts(layer: Any) -> list[Tensor]:
    innermost = layer.get_base_layer()
    return [innermost.weight, *([] if innermost.bias is None else [innermost.bias])]


def _numbers(layer: Any) -> Tensor:
    return torch.cat([part.detach().flatten() for part in _parts(layer)])
