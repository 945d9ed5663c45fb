"""Any PEFT layer, ours or stock, seen in one way: by name, and by the parameters of one adapter."""

from __future__ import annotations

from collections.abc import Iterator

from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn


def adapted_layers(model: nn.Module) -> dict[str, BaseTunerLayer]:
    """Name → adapted layer, by the layer's name in the base model, without the wrappers PEFT puts in front."""
    prefix = "base_model.model." if hasattr(model, "base_model") and hasattr(model, "peft_config") else ""
    found: dict[str, BaseTunerLayer] = {}
    for name, module in model.named_modules():
        if isinstance(module, BaseTunerLayer) and not name.endswith(".base_layer"):
            found[name.removeprefix(prefix)] = module
    return found


def find_layer(model: nn.Module, layer: str) -> tuple[str, BaseTunerLayer]:
    """The adapted layer of that name, or of the one name that ends in it.

    Raises:
        ValueError: where no adapted layer, or more than one, answers to `layer`.
    """
    layers = adapted_layers(model)
    if layer in layers:
        return layer, layers[layer]
    matches = [name for name in layers if name.endswith("." + layer)]
    if len(matches) == 1:
        return matches[0], layers[matches[0]]
    if matches:
        raise ValueError(f"`layer` (={layer!r}) is the end of {len(matches)} adapted layers: {', '.join(matches)}")
    raise ValueError(f"`layer` (={layer!r}) is no adapted layer; there are: {', '.join(layers) or 'none'}")


def adapter_parameters(layer: BaseTunerLayer, adapter_name: str) -> Iterator[tuple[str, nn.Parameter]]:
    """(container, parameter) of one adapter, e.g. ("glora_A", Xd); frozen tensors that PEFT keeps are no parameters."""
    for container in layer.adapter_layer_names:
        held = getattr(layer, container)
        if adapter_name not in held:
            continue
        item = held[adapter_name]
        for parameter in [item] if isinstance(item, nn.Parameter) else item.parameters():
            yield container, parameter
