"""An adapter put on one layer for show: with random values, or a fresh one that does nothing yet.

The layer is copied and the model left alone. Each path draws its own random numbers, so that switching one
path leaves the picture of the others as it was.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence

import torch
from peft import PeftConfig, PeftModel, get_peft_model
from torch import nn

from glora_lab.adapters import GloraConfig
from glora_lab.arguments import refuse

LAYER = "layer"


def linear_layers(model: nn.Module) -> list[str]:
    """The names of the layers that GLoRA can adapt."""
    return [name for name, module in model.named_modules() if type(module).__name__ in ("Linear", "Conv1D")]


def named_layer(names: list[str], layer: str | None) -> str:
    """The one of these names that is `layer` or ends in it, the first for None. ValueError where none or several do."""
    if layer is not None and not isinstance(layer, str):
        raise refuse("layer", layer, "must be the name of a layer, or the end of one")
    matches = names[:1] if layer is None else [name for name in names if name == layer or name.endswith("." + layer)]
    if len(matches) != 1:
        raise ValueError(f"`layer` (={layer!r}) must name one layer, or end one name, of: {', '.join(names)}")
    return matches[0]


def adapt(model: nn.Module, config: PeftConfig, *, seed: int, names: Sequence[str] = ("default",)) -> PeftModel:
    """`get_peft_model` with seeded initial values, and without warnings: a panel shows inert paths itself."""
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        adapted = get_peft_model(model, config, adapter_name=names[0])
        for name in names[1:]:
            adapted.add_adapter(name, copy.deepcopy(config))
        return adapted


def constant_paths(
    target: nn.Module,
    modes: Mapping[str, str],
    values: Mapping[str, float],
    *,
    seed: int,
    names: Sequence[str] = ("default",),
) -> PeftModel:
    """A copy of `target` alone under paths of these modes, an adapter for each name; those in `values` have it in every
    entry, the others random values of a visible size."""
    config = GloraConfig.only(**modes, target_modules=[LAYER], init_weights=False)
    adapted = adapt(nn.ModuleDict({LAYER: copy.deepcopy(target)}), config, seed=seed, names=names)
    layer = adapted.get_submodule(f"base_model.model.{LAYER}")
    for path, value in values.items():
        for parameter in layer.get_submodule(f"glora_{path}").parameters():
            parameter.data.fill_(value)
    return adapted
