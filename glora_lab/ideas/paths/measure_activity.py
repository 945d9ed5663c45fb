"""How much each path does while a model trains: the size of its terms, and its part of the gradient."""

from __future__ import annotations

import math
from collections import defaultdict

import torch
from torch import Tensor, nn

from glora_lab.adapters.tuner.layer import LabLayer
from glora_lab.adapters.view import adapted_layers, adapter_parameters
from glora_lab.arguments import check_count

from .record import PathActivity


def path_activity(model: nn.Module, index: int = 0) -> PathActivity:
    """The paths of the model's first active adapter at this moment, over all its layers.

    Args:
        model: a model with an adapter of this library; GLoRA has five paths, another method a B alone. Between two
            steps of `fit` it still holds the gradient of the step before; without gradients all shares are 0.
        index: the step, to stand in the record.

    Returns:
        For each path that is on somewhere `norms`, the Frobenius norm of its terms of W_eff or b_eff, all layers
        taken as one long vector; `shares`, the squared norm of its parameters' gradient over that of all paths.

    Raises:
        ValueError: where no layer carries an adapter of this library.
    """
    check_count("index", index)
    layers = [layer for layer in adapted_layers(model, parameters=True).values() if isinstance(layer, LabLayer)]
    if not layers:
        raise ValueError("`model` carries no adapter of this library")
    terms: dict[str, float] = defaultdict(float)
    gradients: dict[str, float] = defaultdict(float)
    for layer in layers:
        adapter = layer.active_adapters[0]
        if not layer.carries(adapter):
            continue
        with torch.no_grad():
            for path, term in layer.path_terms(adapter).items():
                terms[path] += _square(term)
        for container, parameter in adapter_parameters(layer, adapter):
            gradients[layer.path_of(container)] += _square(parameter.grad)
    total = sum(gradients.values())
    return PathActivity(
        index=index,
        norms={path: math.sqrt(terms[path]) for path in sorted(terms)},
        shares={path: gradients[path] / total if total else 0.0 for path in sorted(terms)},
    )


def _square(tensor: Tensor | None) -> float:
    return 0.0 if tensor is None else tensor.detach().double().square().sum().item()
