"""A configuration on a copy of one layer, with values of a visible size, path by path."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace

from peft import PeftModel
from torch import nn

from glora_lab.adapters import GloraConfig
from glora_lab.adapters.base.frozen import features
from glora_lab.adapters.glora.paths import PATHS
from glora_lab.page.controls.example import LAYER, adapt, glora_config

from .measure import path_picture
from .record import PathPicture


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


def _put_on(
    target: nn.Module, config: GloraConfig, modes: Mapping[str, str], *, init_weights: bool = True, seed: int = 0
) -> PeftModel:
    alone = nn.ModuleDict({LAYER: copy.deepcopy(target)})
    settings = {"r": config.r, "A_form": config.A_form, "bias_free": config.bias_free}
    return adapt(alone, glora_config([LAYER], modes, init_weights=init_weights, **settings), seed=seed)
