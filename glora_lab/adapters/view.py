"""Any PEFT layer, ours or stock, seen in one way: by name, by the parameters of one adapter, and by what they
make of the weight. Everything here is differentiable and in float64, where it is a tensor.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
from peft.tuners.lora.layer import ParamWrapper
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from glora_lab.adapters.tuner.factors import Blocks
from glora_lab.adapters.tuner.layer import LabLayer
from glora_lab.adapters.tuner.parameter_layer import ParameterLayer
from glora_lab.adapters.tuner.table import MethodTable
from glora_lab.arguments import A_MODEL, check_key, check_kind

from .peft_layers import PeftLora, table_of

if TYPE_CHECKING:
    from glora_lab.adapters.glora.layer import GloraLayer

# over a parameter of a module (`target_parameters`), a matrix or a stack of them that no layer holds
OVER_PARAMETERS = (ParameterLayer, ParamWrapper)


def adapted_layers(model: nn.Module, *, parameters: bool = False) -> dict[str, BaseTunerLayer]:
    """Name → adapted layer, by the layer's name in the base model, without the wrappers PEFT puts in front.

    With `parameters`, also those over a parameter, by its name.
    """
    check_kind("model", model, nn.Module, A_MODEL)
    prefix = "base_model.model." if hasattr(model, "base_model") and hasattr(model, "peft_config") else ""
    found: dict[str, BaseTunerLayer] = {}
    for name, module in model.named_modules():
        name = name.removeprefix(prefix)
        if isinstance(module, OVER_PARAMETERS):
            if parameters:
                found[f"{name.replace('.base_layer', '')}.{module.parameter_name}"] = module
        elif isinstance(module, BaseTunerLayer) and not name.endswith(".base_layer"):
            found[name] = module
    return found


def find_layer(model: nn.Module, layer: str) -> tuple[str, BaseTunerLayer]:
    """The adapted layer of that name, or of the one name that ends in it.

    Raises:
        ValueError: where no adapted layer, or more than one, answers to `layer`, or it is a parameter.
    """
    check_kind("model", model, nn.Module, A_MODEL)
    check_kind("layer", layer, str, "must be the name of an adapted layer, or an unambiguous end of one")
    layers = adapted_layers(model, parameters=True)
    matches = [layer] if layer in layers else [name for name in layers if name.endswith("." + layer)]
    if len(matches) == 1:
        (name,) = matches
        check_is_layer(name, layers[name])
        return name, layers[name]
    if matches:
        raise ValueError(f"`layer` (={layer!r}) is the end of {len(matches)} adapted layers: {', '.join(matches)}")
    raise ValueError(f"`layer` (={layer!r}) is no adapted layer; there are: {', '.join(layers) or 'none'}")


def check_is_layer(name: str, layer: BaseTunerLayer) -> None:
    """Refuse an adapter of `target_parameters`, where one matrix is looked into."""
    if isinstance(layer, OVER_PARAMETERS):
        kind = "a LoRA" if isinstance(layer, ParamWrapper) else "an adapter"
        raise ValueError(f"`layer` (={name!r}) carries {kind} of `target_parameters`, which is no single matrix")


def carried(layer: BaseTunerLayer) -> list[str]:
    """The adapters that a layer carries, one whose paths are all off included."""
    return table_of(layer).carried()


def chosen_adapter(layer: BaseTunerLayer, adapter_name: str | None) -> str:
    """The adapter of that name, the first active one for None.

    Raises:
        ValueError: for a name that the layer does not carry.
    """
    if adapter_name is None:
        return str(layer.active_adapters[0])
    check_key("adapter_name", adapter_name, carried(layer), "is not on this layer; there are")
    return adapter_name


def adapter_parameters(layer: BaseTunerLayer, adapter_name: str) -> Iterator[tuple[str, nn.Parameter]]:
    """(container, parameter) of one adapter, e.g. ("glora_A", Xd); frozen tensors that PEFT keeps are no parameters."""
    for container in layer.adapter_layer_names:
        held = getattr(layer, container)
        if adapter_name not in held:
            continue
        item = held[adapter_name]
        for parameter in [item] if isinstance(item, nn.Parameter) else item.parameters():
            yield container, parameter


def has_paths(layer: BaseTunerLayer) -> TypeGuard[GloraLayer]:
    """Whether this is a layer of this library whose method has several paths: GLoRA's."""
    return isinstance(layer, LabLayer) and len(layer.path_names) > 1


def has_factors(layer: Any, adapter: str) -> bool:
    """Whether that adapter's ΔW on this layer is a product of factors, or a grid of them: GraLoRA's and LoRA's are."""
    if not isinstance(layer, BaseTunerLayer) or adapter not in carried(layer):
        return False
    return table_of(layer).blocks_of(adapter) is not None


def block_sides(layer: BaseTunerLayer, adapter: str) -> int:
    """k: the number of blocks per side, 1 for anything that is no grid."""
    found = table_of(layer).blocks_of(adapter)
    return 1 if found is None else found.k


def factor_pairs(layer: BaseTunerLayer, adapter: str = "default") -> Blocks:
    """The two factors of every block (m output block, n input block), so that scaling · B[m, n] @ A[m, n].T is all of
    ΔW there; a LoRA is one block.

    Raises:
        ValueError: for a layer without that adapter, or one whose ΔW is no product.
    """
    table = _carrying(layer, adapter)
    found = table.blocks_of(adapter)
    if found is not None:
        return found.double()
    if isinstance(table, PeftLora) and table.is_variant(adapter):
        raise ValueError(f"`adapter` (={adapter!r}) is a DoRA or another variant, whose ΔW is no product of factors")
    method = table.method_of(adapter) or "another method"
    raise ValueError(
        f"`layer` (={type(layer).__name__}) carries {method} whose ΔW is no product of factors: it has no blocks"
    )


def delta_matrix(layer: BaseTunerLayer, adapter: str = "default") -> Tensor:
    """What one adapter adds to the layer's original weight: ΔW as (out, in), whatever is merged.

    For the layers of this library, and stock PEFT's LoRA (DoRA included), GLoRA and GraLoRA, over nn.Linear and
    Conv1D. What is added to the bias is not in it.

    Raises:
        ValueError: for another kind of layer, one without that adapter, or a stock layer whose ΔW depends on the
            original weight while an adapter is merged into that.
    """
    return _carrying(layer, adapter).weight_delta(adapter, torch.float64)


def _carrying(layer: BaseTunerLayer, adapter: str) -> MethodTable:
    table = table_of(layer)
    if not table.carries(adapter):
        known = ", ".join(table.carried()) or "none"
        raise ValueError(f"`adapter` (={adapter!r}) is not on this layer; there are: {known}")
    return table
