"""PEFT's `hotswap_adapter` for our adapters: another checkpoint's values under the name of an adapter that is there.

Tensors are written in place where they have the shapes of the old ones, so that a compiled model stays compiled and an
optimizer keeps its parameters; a layer of another rank, k or mode gets new ones. PEFT's function for LoRA fills
layers that the new adapter does not have with zeros and leaves the old configuration, which then describes another
adapter; here the layers must be the same, and the configuration goes along. PEFT calls this through its own module,
where it stands in the place of the function for LoRA and hands everything else on to it.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from peft import PeftConfig
from peft.utils import hotswap
from torch import Tensor, nn

from glora_lab.adapters.base.ordinary_mode import ordinary_mode
from glora_lab.adapters.files import not_finite, read_head, warn_not_finite
from glora_lab.adapters.registry import LabPeftType
from glora_lab.adapters.tuner.config import LabConfig
from glora_lab.adapters.tuner.layer import LabLayer
from glora_lab.arguments import refuse
from glora_lab.wording import few

from .fit import at_home, class_in

COMPILED = "_orig_mod."


@ordinary_mode()
def swap_in(model: nn.Module, state_dict: Mapping[str, Tensor], adapter_name: str, config: LabConfig) -> None:
    """Give the adapter of that name the configuration and the tensors of another one.

    Args:
        state_dict: the new tensors, named as `model` names its own.

    Raises:
        ValueError: where the adapter is merged or unknown, or either trains biases or whole modules, which are not
            swapped, or for tensors of a shape that is not that of `config`.
        RuntimeError: as PEFT's, where the two are not on the same layers.
        Either way nothing has changed.
    """
    config.validate()
    configs: dict[str, Any] = model.peft_config  # type: ignore[assignment]
    layers = {
        name.removeprefix(COMPILED): module
        for name, module in model.named_modules()
        if isinstance(module, LabLayer) and module.carries(adapter_name)
    }
    _check_adapters(configs.get(adapter_name), config, adapter_name, layers)
    found = {name: _of_layer(name, layer, state_dict, adapter_name, config) for name, layer in layers.items()}
    foreign = state_dict.keys() - {key for keys in found.values() for key in keys.values()}
    if foreign:
        raise RuntimeError(f"Hot swapping the adapter did not succeed, unexpected keys found: {few(sorted(foreign))}.")
    missing = {key for keys in found.values() for key in keys.values()} - state_dict.keys()
    if missing:
        raise RuntimeError(f"Hot swapping the adapter did not succeed, missing keys found: {few(sorted(missing))}.")
    for name, layer in layers.items():
        _swap(layer, adapter_name, config, {tensor: state_dict[key] for tensor, key in found[name].items()})
    config.inference_mode = configs[adapter_name].inference_mode
    configs[adapter_name] = config
    warn_not_finite(not_finite(dict(state_dict)), f"The adapter that is now {adapter_name!r}")


def _check_adapters(old: Any, new: Any, name: str, layers: Mapping[str, LabLayer]) -> None:
    if not isinstance(old, new.of_this_library()):
        raise refuse("adapter_name", name, f"is no adapter of this model that a {type(new).__name__} could replace")
    if any(name in layer.merged_adapters for layer in layers.values()):
        raise ValueError(
            f"Cannot hot-swap adapter {name!r} because it is currently merged into the base weights. Please unmerge "
            "the adapter first by calling `unmerge_adapter()`."
        )
    for config, whose in ((old, "old"), (new, "new")):
        if config.bias != "none":
            raise refuse("bias", config.bias, f"of the {whose} adapter: biases of the base are not swapped")
        if config.modules_to_save:
            saved = list(config.modules_to_save)
            raise refuse("modules_to_save", saved, f"of the {whose} adapter: whole modules are not swapped")


def _of_layer(
    name: str, layer: LabLayer, state_dict: Mapping[str, Tensor], adapter_name: str, config: LabConfig
) -> dict[str, str]:
    """The tensors that `config` puts on this layer → their keys."""
    keys = {}
    with layer.original() if layer.merged else nullcontext():  # another adapter may have given it a bias
        shapes = config.plan_for(layer.layer_name, layer.innermost).tensors()
    for tensor, shape in shapes.items():
        container, _, rest = tensor.partition(".")
        key = ".".join(part for part in (name, container, adapter_name, rest) if part)
        if key in state_dict and tuple(state_dict[key].shape) != shape:
            rule = f"must be {list(shape)} for the configuration of the new adapter"
            raise refuse(key, list(state_dict[key].shape), rule)
        if key in state_dict and not state_dict[key].is_floating_point():
            raise refuse(key, state_dict[key].dtype, "must be of real numbers, as weights are")
        keys[tensor] = key
    return keys


@torch.no_grad()
def _swap(layer: LabLayer, name: str, config: LabConfig, tensors: Mapping[str, Tensor]) -> None:
    old = layer.tensors(name)
    if {n: t.shape for n, t in old.items()} == {n: t.shape for n, t in tensors.items()}:
        layer.plan_adapter(name, config)
    else:
        flags = [(tensor, tensor.requires_grad) for tensor in layer.parameters()]  # type: ignore[attr-defined]
        layer.update_layer(name, config)
        for tensor, requires_grad in flags:
            tensor.requires_grad = requires_grad
        like = next(iter(old.values()), None)
        for tensor in layer.tensors(name).values():
            tensor.requires_grad = like is not None and like.requires_grad
            tensor.data = tensor.data if like is None else tensor.data.to(like.device, like.dtype)
    for tensor_name, tensor in layer.tensors(name).items():
        tensor.copy_(tensors[tensor_name])


def _swapping(theirs: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(theirs)
    def hotswap_adapter_from_state_dict(
        model: nn.Module, state_dict: dict[str, Tensor], adapter_name: str, config: PeftConfig, *args: Any, **kw: Any
    ) -> None:
        if isinstance(config, LabConfig):
            return swap_in(model, state_dict, adapter_name, config)
        return theirs(model, state_dict, adapter_name, config, *args, **kw)

    return hotswap_adapter_from_state_dict


def _reading(theirs: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(theirs)
    def hotswap_adapter(model: nn.Module, model_name_or_path: Any, *args: Any, **kwargs: Any) -> None:
        place = at_home(model_name_or_path, kwargs.get("subfolder"))
        folder = os.path.join(place, kwargs.get("subfolder") or "")
        if class_in(folder):
            read_head(folder)
        return theirs(model, place, *args, **kwargs)

    return hotswap_adapter


hotswap.hotswap_adapter = _reading(hotswap.hotswap_adapter)
hotswap.hotswap_adapter_from_state_dict = _swapping(hotswap.hotswap_adapter_from_state_dict)
# settings that have to agree because the tensors do not bring them: none, for the configuration goes along
hotswap.CONFIG_KEYS_TO_CHECK.update({kind: [] for kind in LabPeftType})  # type: ignore[misc]
