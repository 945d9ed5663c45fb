"""An adapted layer of a model in memory, as a `Source`: what a checkpoint of it would hold, with W0 at hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from peft.tuners.lora.layer import LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from glora_lab.adapters.base.frozen import FrozenBase, frozen_base
from glora_lab.adapters.base.offload import onloaded
from glora_lab.adapters.glora.layer import GloraLayer
from glora_lab.adapters.gralora.layer import GraloraLayer
from glora_lab.adapters.view import StockGloraLayer, StockGraloraLayer, carried, check_is_layer, delta_matrix

from .anatomy import Source

METHODS: dict[type, str] = {
    GloraLayer: "GLoRA",
    StockGloraLayer: "GLoRA",
    GraloraLayer: "GraLoRA",
    StockGraloraLayer: "GraLoRA",
    LoraLayer: "LoRA",
}


@contextmanager
def live_source(name: str, layer: BaseTunerLayer, adapter: str) -> Iterator[Source]:
    """One adapter on one layer; within, the layer's weight is the original one.

    Raises:
        ValueError: as `delta_matrix`.
    """
    found: Any = layer
    if adapter not in carried(layer):
        known = ", ".join(carried(layer)) or "none"
        raise ValueError(f"`adapter_name` (={adapter!r}) is not on layer {name!r}; there are: {known}")
    method = next((method for kind, method in METHODS.items() if isinstance(layer, kind)), None)
    if method is None:
        raise ValueError(f"`layer` (={name!r}, a {type(layer).__name__}) carries none of LoRA, GLoRA and GraLoRA")
    check_is_layer(name, layer)
    with found.original() if isinstance(layer, GloraLayer) else nullcontext(), onloaded(found.modules()):
        plan = found.plans[adapter] if isinstance(layer, GloraLayer) else None
        source = Source(
            name,
            method,
            _tensors(layer, adapter),
            r=found.r[adapter],
            shape=(found.out_features, found.in_features),
            scaling=1.0 if isinstance(layer, StockGloraLayer) else found.scaling[adapter],
            form=plan.form if plan else "elementwise",
            base=_base(name, found) if method == "GLoRA" else None,
        )
        if method == "LoRA" and not _is_plain(found, adapter, source.tensors):
            source.method, source.tensors = "dense", {"delta": delta_matrix(layer, adapter)}  # params stay counted
        yield source


def _tensors(layer: BaseTunerLayer, adapter: str) -> dict[str, Tensor]:
    """Under a checkpoint's names: "lora_A.weight", "gralora_A", "glora_C.Xd"."""
    found: dict[str, Tensor] = {}
    for container in layer.adapter_layer_names:
        held = getattr(layer, container)
        if adapter not in held:
            continue
        item = held[adapter]
        if isinstance(item, nn.Parameter):
            found[container] = item
        else:
            found |= {f"{container}.{name}": parameter for name, parameter in item.named_parameters()}
    if isinstance(layer, GloraLayer) and layer.factor(adapter) != 1:  # `scaling` is that of low-rank products alone
        found |= {name: tensor * layer.factor(adapter) for name, tensor in found.items() if name.endswith(".X")}
    return found


def _base(name: str, layer: Any) -> FrozenBase:
    if isinstance(layer, GloraLayer):
        return layer.frozen_base(torch.float64)
    if layer.merged:
        raise ValueError(f"`layer` (={name!r}) has an adapter merged, and PEFT keeps no original weight: unmerge first")
    innermost = layer.get_base_layer()
    return frozen_base(innermost, innermost, torch.float64)


def _is_plain(layer: Any, adapter: str, tensors: Mapping[str, Tensor]) -> bool:
    """Whether ΔW is two matrices multiplied, and scaled."""
    return layer.lora_variant.get(adapter) is None and all(t.ndim <= 2 for t in tensors.values())
