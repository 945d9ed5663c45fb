"""An adapted layer of a model in memory, as a `Source`: what a checkpoint of it would hold, with W0 at hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from glora_lab.adapters.base.offload import onloaded
from glora_lab.adapters.peft_layers import table_of
from glora_lab.adapters.view import check_is_layer

from .anatomy import Source


@contextmanager
def live_source(name: str, layer: BaseTunerLayer, adapter: str) -> Iterator[Source]:
    """One adapter on one layer, whatever is merged.

    Raises:
        ValueError: as `delta_matrix`.
    """
    found: Any = layer
    table = table_of(layer, name=name)
    if not table.carries(adapter):
        known = ", ".join(table.carried()) or "none"
        raise ValueError(f"`adapter_name` (={adapter!r}) is not on layer {name!r}; there are: {known}")
    if not table.method:
        raise ValueError(f"`layer` (={name!r}, a {type(layer).__name__}) carries none of LoRA, GLoRA and GraLoRA")
    check_is_layer(name, layer)
    tensors = table.tensors(adapter)
    with onloaded(found.modules()):
        yield Source(
            name,
            table.method_of(adapter),
            tensors,
            r=found.r[adapter],
            shape=(found.out_features, found.in_features),
            params=sum(one.numel() for one in tensors.values() if isinstance(one, nn.Parameter)),  # what trains
            live=lambda: table.terms(adapter),
        )
