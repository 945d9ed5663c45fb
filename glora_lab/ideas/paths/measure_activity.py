"""How much each path does while a model trains: the size of its terms, and its part of the gradient."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from glora_lab.adapters.glora.layer import GloraLayer
from glora_lab.adapters.glora.paths import PATHS
from glora_lab.adapters.view import adapted_layers

from .record import PathActivity


def path_activity(model: nn.Module, index: int = 0) -> PathActivity:
    """The paths of the model's first active GLoRA adapter at this moment, over all its layers.

    Args:
        model: a model with a GLoRA adapter of this library. Between two steps of `fit` it still holds the
            gradient of the step before; without gradients all shares are 0.
        index: the step, to stand in the record.

    Returns:
        For each path that is on somewhere: `norms`, the Frobenius norm of its terms of W_eff or b_eff, all layers
        taken as one long vector; `shares`, the squared norm of its parameters' gradient over that of all paths.

    Raises:
        ValueError: where no layer carries a GLoRA adapter of this library.
    """
    layers = [layer for layer in adapted_layers(model, parameters=True).values() if isinstance(layer, GloraLayer)]
    if not layers:
        raise ValueError("`model` carries no GLoRA adapter of this library")
    terms: dict[str, float] = {}
    gradients: dict[str, float] = {}
    for layer in layers:
        adapter = layer.active_adapters[0]
        if not layer.carries(adapter):
            continue
        with torch.no_grad():
            for path, term in (layer.weight_terms(adapter) | layer.bias_terms(adapter)).items():
                terms[path] = terms.get(path, 0.0) + _square(term)
        for path, module in layer.paths(adapter).items():
            gradients[path] = gradients.get(path, 0.0) + sum(_square(p.grad) for p in module.parameters())
    on = [path for path in PATHS if path in terms]
    total = sum(gradients.values())
    return PathActivity(
        index=index,
        norms={path: math.sqrt(terms[path]) for path in on},
        shares={path: gradients[path] / total if total else 0.0 for path in on},
    )


def _square(tensor: Tensor | None) -> float:
    return 0.0 if tensor is None else tensor.detach().double().square().sum().item()
