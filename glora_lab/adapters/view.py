"""Any PEFT layer, ours or stock, seen in one way: by name, by the parameters of one adapter, and by what they
make of the weight. Everything here is differentiable and in float64, where it is a tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from peft.tuners.glora.layer import GloraLayer as StockGloraLayer
from peft.tuners.gralora.layer import GraloraLayer as StockGraloraLayer
from peft.tuners.lora.layer import LoraLayer, ParamWrapper
from peft.tuners.lora.variants import DoraLinearVariant
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from glora_lab.adapters.base.frozen import frozen_base
from glora_lab.adapters.glora.layer import GloraLayer
from glora_lab.adapters.gralora.formula import block_delta, block_factors
from glora_lab.adapters.gralora.layer import GraloraLayer
from glora_lab.adapters.tuner.parameter_layer import ParameterLayer

# over a parameter of a module (`target_parameters`), a matrix or a stack of them that no layer holds
OVER_PARAMETERS = (ParameterLayer, ParamWrapper)


def adapted_layers(model: nn.Module, *, parameters: bool = False) -> dict[str, BaseTunerLayer]:
    """Name → adapted layer, by the layer's name in the base model, without the wrappers PEFT puts in front.

    With `parameters`, also those over a parameter, by its name.
    """
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
    if isinstance(layer, GloraLayer):
        return list(layer.plans)
    return list(dict.fromkeys(name for container in layer.adapter_layer_names for name in getattr(layer, container)))


def adapter_parameters(layer: BaseTunerLayer, adapter_name: str) -> Iterator[tuple[str, nn.Parameter]]:
    """(container, parameter) of one adapter, e.g. ("glora_A", Xd); frozen tensors that PEFT keeps are no parameters."""
    for container in layer.adapter_layer_names:
        held = getattr(layer, container)
        if adapter_name not in held:
            continue
        item = held[adapter_name]
        for parameter in [item] if isinstance(item, nn.Parameter) else item.parameters():
            yield container, parameter


class Blocks(NamedTuple):
    """One GraLoRA adapter's factors: block (m, n) of ΔW is scaling · B[m, n] @ A[m, n].T, a hybrid's LoRA apart."""

    B: Tensor  # (m, n, out/k, r/k)
    A: Tensor  # (m, n, in/k, r/k)
    scaling: float


def blocks(layer: BaseTunerLayer, adapter: str = "default") -> Blocks:
    """The two factors of every block (m output block, n input block) of a GraLoRA layer, ours or stock.

    Raises:
        ValueError: for a layer without GraLoRA, or without that adapter.
    """
    if not isinstance(layer, GraloraLayer | StockGraloraLayer):
        raise ValueError(f"`layer` (={type(layer).__name__}) carries no GraLoRA, and has no blocks")
    _check_carried(layer, adapter, "gralora_A")
    return Blocks(*block_factors(*_block_tensors(layer, adapter)), layer.scaling[adapter])


def has_factors(layer: Any, adapter: str) -> bool:
    """Whether that adapter's ΔW on this layer is a product of factors, or a grid of them: GraLoRA's and LoRA's are."""
    if isinstance(layer, LoraLayer):
        held = adapter in layer.lora_A and layer.lora_A[adapter].weight.ndim == 2
        return bool(held) and layer.lora_variant.get(adapter) is None
    return isinstance(layer, GraloraLayer | StockGraloraLayer) and adapter in layer.gralora_A


def factor_pairs(layer: Any, adapter: str = "default") -> Blocks:
    """The two factors of every block, so that scaling · B[m, n] @ A[m, n].T is all of ΔW there.

    As `blocks`, and beyond it: the plain LoRA of a hybrid is the last hybrid_r columns, the same B in a whole row of
    blocks and the same A in a whole column; a layer with a LoRA is one block.

    Raises:
        ValueError: for a layer without GraLoRA or LoRA, or without that adapter, and for a DoRA.
    """
    if isinstance(layer, LoraLayer):
        _check_carried(layer, adapter, "lora_A")
        if layer.lora_variant.get(adapter) is not None:
            raise ValueError(
                f"`adapter` (={adapter!r}) is a DoRA or another variant, whose ΔW is no product of factors"
            )
        a, b = _lora_factors(layer, adapter)
        return Blocks(b[None, None], a.T[None, None], layer.scaling[adapter])
    found = blocks(layer, adapter)
    if not layer.hybrid_r[adapter]:
        return found
    k = len(found.B)
    a, b = _general_factors(layer, adapter)
    b = b.unflatten(0, (k, 1, -1)).expand(k, k, -1, -1)  # (m, n, o, hybrid_r)
    a = a.T.unflatten(0, (1, k, -1)).expand(k, k, -1, -1)  # (m, n, i, hybrid_r)
    return Blocks(torch.cat([found.B, b], -1), torch.cat([found.A, a], -1), found.scaling)


def delta_matrix(layer: BaseTunerLayer, adapter: str = "default") -> Tensor:
    """What one adapter adds to the layer's original weight: ΔW as (out, in), whatever is merged.

    For LoRA (DoRA included), GLoRA and GraLoRA layers, ours and stock PEFT's, over nn.Linear and Conv1D. What
    GLoRA adds to the bias is not in it.

    Raises:
        ValueError: for another kind of layer, one without that adapter, or a stock layer whose ΔW depends on the
            original weight while an adapter is merged into that.
    """
    for kind, (container, delta) in DELTAS.items():
        if isinstance(layer, kind):
            _check_carried(layer, adapter, container)
            return delta(layer, adapter)
    raise ValueError(f"`layer` (={type(layer).__name__}) carries none of LoRA, GLoRA and GraLoRA")


def _check_carried(layer: BaseTunerLayer, adapter: str, container: str) -> None:
    known = list(layer.plans if isinstance(layer, GloraLayer) else getattr(layer, container))
    if adapter not in known:
        raise ValueError(f"`adapter` (={adapter!r}) is not on this layer; there are: {', '.join(known) or 'none'}")


def _block_tensors(layer: Any, adapter: str) -> tuple[Tensor, Tensor]:
    """(k, in/k, r) and (k, r, out/k)."""
    ours = isinstance(layer, GraloraLayer)
    a, b = layer.blocks(adapter) if ours else (layer.gralora_A[adapter], layer.gralora_B[adapter])
    return a.double(), b.double()


def _general_factors(layer: Any, adapter: str) -> tuple[Tensor, Tensor]:
    """A hybrid's plain LoRA: (hybrid_r, in) and (out, hybrid_r)."""
    held = layer.gralora_A_general[adapter], layer.gralora_B_general[adapter]
    a, b = (factor() if isinstance(layer, GraloraLayer) else factor.weight for factor in held)
    return a.double(), b.double()


def _stock_gralora_delta(layer: Any, adapter: str) -> Tensor:
    delta = block_delta(*_block_tensors(layer, adapter))
    if layer.hybrid_r[adapter]:
        a, b = _general_factors(layer, adapter)
        delta = delta + b @ a
    return delta * layer.scaling[adapter]


def _glora_delta(layer: Any, adapter: str) -> Tensor:
    terms = [term.double() for term in layer.weight_terms(adapter, torch.float64).values()]
    return sum(terms, start=torch.zeros(layer.out_features, layer.in_features, dtype=torch.float64))


def _stock_glora_delta(layer: Any, adapter: str) -> Tensor:
    def matrix(path: Any) -> Tensor:
        return path.Xd.double() @ path.Xu.double() if hasattr(path, "Xd") else torch.as_tensor(path()).double()

    a, b = matrix(layer.glora_A[adapter]), matrix(layer.glora_B[adapter])
    return _stock_weight(layer) * a + b


def _lora_factors(layer: Any, adapter: str) -> tuple[Tensor, Tensor]:
    """(r, in) and (out, r)."""
    a, b = layer.lora_A[adapter].weight.double(), layer.lora_B[adapter].weight.double()
    variant = layer.lora_variant.get(adapter)
    if a.ndim > 2 or not (variant is None or isinstance(variant, DoraLinearVariant)):
        raise ValueError(f"`layer` (={type(layer).__name__}) carries a LoRA that is no plain product of two matrices")
    return a, b


def _lora_delta(layer: Any, adapter: str) -> Tensor:
    a, b = _lora_factors(layer, adapter)
    variant = layer.lora_variant.get(adapter)
    delta = layer.scaling[adapter] * (b @ a)
    if variant is None:
        return delta
    w0 = _stock_weight(layer)
    norm = (w0 + delta).norm(dim=1).detach()  # DoRA takes its norm for a constant
    return (layer.lora_magnitude_vector[adapter].weight.double() / norm)[:, None] * (w0 + delta) - w0


def _stock_weight(layer: Any) -> Tensor:
    if layer.merged:
        raise ValueError("`layer` has an adapter merged into its weight, and PEFT keeps no original: unmerge it first")
    innermost = layer.get_base_layer()
    return frozen_base(innermost, innermost, torch.float64).matrix()


# a layer's class → the container that knows its adapters, and ΔW of one of them
DELTAS: dict[type, tuple[str, Callable[[Any, str], Tensor]]] = {
    GraloraLayer: ("gralora_A", lambda layer, adapter: layer.weight_delta(adapter, torch.float64)),
    GloraLayer: ("glora_A", _glora_delta),
    StockGraloraLayer: ("gralora_A", _stock_gralora_delta),
    StockGloraLayer: ("glora_A", _stock_glora_delta),
    LoraLayer: ("lora_A", _lora_delta),
}
