"""An adapter put on one layer for show: with random values, or a fresh one that does nothing yet.

The layer is copied and the model left alone. Each path draws its own random numbers, so that switching one
path leaves the picture of the others as it was.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from dataclasses import replace

import torch
from peft import PeftConfig, PeftModel, get_peft_model
from torch import nn

from glora_lab.adapters import GloraConfig
from glora_lab.adapters.frozen_base import features
from glora_lab.adapters.paths import PATHS
from glora_lab.measure import path_picture
from glora_lab.records import PathPicture

LAYER = "layer"


def linear_layers(model: nn.Module) -> list[str]:
    """The names of the layers that GLoRA can adapt."""
    return [name for name, module in model.named_modules() if type(module).__name__ in ("Linear", "Conv1D")]


def named_layer(names: list[str], layer: str | None) -> str:
    """The one of these names that is `layer` or ends in it, the first for None. ValueError where none or several do."""
    matches = names[:1] if layer is None else [name for name in names if name == layer or name.endswith("." + layer)]
    if len(matches) != 1:
        raise ValueError(f"`layer` (={layer!r}) must name one layer, or end one name, of: {', '.join(names)}")
    return matches[0]


def glora_config(targets: list[str] | str, modes: Mapping[str, str], **settings: object) -> GloraConfig:
    """A GloraConfig with the mode of each path written out; a path that is missing is off."""
    paths = {f"config_{path}": modes.get(path, "none") for path in PATHS}
    return GloraConfig(target_modules=targets, **paths, **settings)  # type: ignore[arg-type]


def adapt(model: nn.Module, config: PeftConfig, *, seed: int) -> PeftModel:
    """`get_peft_model` with seeded initial values, and without warnings: a panel shows inert paths itself."""
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        return get_peft_model(model, config)


def example_picture(target: nn.Module, layer: str, config: GloraConfig, *, fresh: bool, seed: int) -> PathPicture:
    """The picture of `target` under `config`, named `layer`: a fresh adapter, or values of a visible size."""
    in_features, out_features = features(target)
    has_bias = target.bias is not None
    plan = config.plan(LAYER, in_features=in_features, out_features=out_features, has_bias=has_bias)
    if plan.total == 0:  # PEFT refuses an adapter without parameters; a zero one shows the same layer
        zero = path_picture(_put_on(target, config, {"B": "constant"}), LAYER)
        nothing = dict.fromkeys(PATHS, 0)
        return replace(zero, layer=layer, modes=plan.asked, params=nothing, inert=plan.inert)
    adapted = _put_on(target, config, plan.modes)
    for n, path in enumerate(PATHS):
        if not fresh and plan.params(path):
            own = {"init_weights": False, "seed": len(PATHS) * seed + n}
            alone = _put_on(target, config, {path: plan.modes[path]}, **own)  # type: ignore[arg-type]
            adapted.load_state_dict(alone.state_dict(), strict=False)
    return replace(path_picture(adapted, LAYER), layer=layer, modes=plan.asked, inert=plan.inert)


def constant_paths(target: nn.Module, modes: Mapping[str, str], values: Mapping[str, float], *, seed: int) -> PeftModel:
    """A copy of `target` alone under paths of these modes; those in `values` have it in every entry, the others random
    values of a visible size."""
    adapted = adapt(
        nn.ModuleDict({LAYER: copy.deepcopy(target)}), glora_config([LAYER], modes, init_weights=False), seed=seed
    )
    layer = adapted.get_submodule(f"base_model.model.{LAYER}")
    for path, value in values.items():
        for parameter in layer.get_submodule(f"glora_{path}").parameters():
            parameter.data.fill_(value)
    return adapted


def _put_on(
    target: nn.Module, config: GloraConfig, modes: Mapping[str, str], *, init_weights: bool = True, seed: int = 0
) -> PeftModel:
    alone = nn.ModuleDict({LAYER: copy.deepcopy(target)})
    settings = {"r": config.r, "A_form": config.A_form, "bias_free": config.bias_free}
    return adapt(alone, glora_config([LAYER], modes, init_weights=init_weights, **settings), seed=seed)
