"""One adapted layer as this library and as stock PEFT have it: over a copy of the same base, with the same tensors.

So the two can be compared by running them. Each twin is a layer that `get_peft_model` makes, and the layer that was
given is left as it is.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from typing import Any

import peft
import torch
from peft import PeftConfig
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from glora_lab.adapters.registry import config_beside
from glora_lab.adapters.tuner.layer import LabLayer
from glora_lab.adapters.tuner.table import own_tensors

from .translate import in_stock_words

LAYER = "layer"


def lab_twin(layer: BaseTunerLayer, config: PeftConfig, adapter: str) -> LabLayer:
    """This library's layer: a copy of it, unmerged, or one made from stock PEFT's GLoRA or GraLoRA.

    Args:
        config: the adapter's, as the model that carries the layer holds it.

    Raises:
        ValueError: for a LoRA, which stays PEFT's own, and for settings that this library does not know.
    """
    if isinstance(layer, LabLayer):
        return _copy(layer)
    ours = config_beside(config)
    if ours is None:
        raise ValueError(f"{type(layer).__module__} has no counterpart here: a LoRA stays PEFT's own")
    tensors = own_tensors(layer, adapter)  # zeros that stand for a path that is off are none
    return _made(layer, ours.from_stock(config), adapter, tensors)


def stock_twin(layer: BaseTunerLayer, config: PeftConfig, adapter: str) -> BaseTunerLayer:
    """Stock PEFT's layer: a copy of it, or one made from ours.

    Raises:
        ValueError: with each setting that stock PEFT cannot express.
    """
    if not isinstance(layer, LabLayer):
        return _copy(layer)
    stock, reasons = in_stock_words(config, {layer.layer_name: layer}, adapter)
    if reasons:
        raise ValueError(f"PEFT's own cannot express {'; '.join(reasons)}")
    return _made(layer, stock, adapter, layer.stock_tensors(adapter))


def _copy(layer: Any) -> Any:
    twin = copy.deepcopy(layer)
    if twin.merged:
        twin.unmerge()
    return twin


def _made(layer: Any, config: Any, adapter: str, tensors: Mapping[str, Tensor]) -> Any:
    """A layer of one's own under `config`, whatever names and patterns that was written for."""
    own = copy.deepcopy(config)
    own.target_modules, own.modules_to_save, own.bias, own.inference_mode = {LAYER}, None, "none", False
    for narrowing in ("exclude_modules", "layers_to_transform", "layers_pattern"):
        if hasattr(own, narrowing):
            setattr(own, narrowing, None)
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # of inert paths the model's owner has been told
        model = peft.get_peft_model(nn.ModuleDict({LAYER: _copy(layer).get_base_layer()}), own, adapter_name=adapter)
    twin = model.get_submodule(f"base_model.model.{LAYER}")
    outcome = twin.load_state_dict(_named(tensors, adapter), strict=False)
    assert not outcome.unexpected_keys and all(name.startswith("base_layer.") for name in outcome.missing_keys), outcome
    return twin


def _named(tensors: Mapping[str, Tensor], adapter: str) -> dict[str, Tensor]:
    """A checkpoint's "glora_A.Xd" is "glora_A.default.Xd" in the layer."""
    parts = {name: name.partition(".") for name in tensors}
    return {".".join(filter(None, (c, adapter, rest))): tensors[name] for name, (c, _, rest) in parts.items()}
