"""Thousands of adapted layers: where PEFT and torch take time that grows with the square of their number.

PEFT's injection holds every name in the model against every adapted layer, to leave out what is inside one; GLoRA has
more inside than LoRA. Loading in torch sorts the file's tensors anew for every module of a list. Both are told here
what they would find out, and go on from there as they do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import Tensor, nn

from glora_lab.adapters.base.frozen import is_sharded
from glora_lab.adapters.base.ordinary_mode import ordinary_mode

from .layer import LabLayer
from .targets import outside


def name_outside_once(model: nn.Module) -> None:
    """`model.named_modules()`, the next time it is asked, gives what is inside a tuner layer the model's own name, "".

    PEFT's injection, for which this is, passes over that name.
    """

    def named_modules(*args: Any, **kwargs: Any) -> Iterator[tuple[str, nn.Module]]:
        name_all(model)
        if args or kwargs:
            yield from model.named_modules(*args, **kwargs)
            return
        names = {id(module): name for name, module in outside(model, BaseTunerLayer)}
        for module in model.modules():
            if id(module) in names or module._parameters:  # PEFT notes which tensors trained
                yield names.get(id(module), ""), module

    vars(model)["named_modules"] = named_modules


def name_all(model: nn.Module) -> None:
    """Take `name_outside_once` back."""
    vars(model).pop("named_modules", None)


def freeze(model: nn.Module, modules: Iterable[nn.Module]) -> None:
    """Nothing that is `model`'s, or that one of these has itself, is to train; of our layers, what is beneath."""
    for module in (model, *modules):
        held = module.get_base_layer().parameters() if isinstance(module, LabLayer) else module._parameters.values()
        for parameter in held:
            if parameter is not None:
                parameter.requires_grad = False


def holds_low(model: nn.Module) -> bool:
    """Whether any tensor is in a precision that PEFT might cast to float32."""
    for module in model.modules():
        for held in (module._parameters, module._buffers):
            for tensor in held.values() if held else ():
                if tensor is not None and tensor.dtype.itemsize < 4 and tensor.dtype.is_floating_point:
                    return True
    return False


@contextmanager
def filling_at_once(model: nn.Module, adapter_name: str) -> Iterator[None]:
    """Within, `model.load_state_dict` copies the tensors of our layers first, and leaves the rest to torch.

    A tensor of another shape, or one that is not in place, is left to torch as well, which says what it says.
    """
    filled: set[str] = set()

    def fill(state_dict: dict[str, Tensor], prefix: str, metadata: dict[str, Any], *others: Any) -> None:
        if metadata.get("assign_to_params_buffers"):
            return
        copied: set[int] = set()
        with torch.no_grad():
            for name, own in _own_tensors(model, adapter_name):
                value = state_dict.get(prefix + name)
                if value is None and id(own) in copied:
                    filled.add(prefix + name)  # another name of the same layer
                elif value is not None and own.shape == value.shape and not own.is_meta and not is_sharded(own):
                    own.copy_(value)
                    del state_dict[prefix + name]
                    filled.add(prefix + name)
                    copied.add(id(own))

    def found(_: nn.Module, incompatible: Any) -> None:
        incompatible.missing_keys[:] = [key for key in incompatible.missing_keys if key not in filled]

    handles = [model._register_load_state_dict_pre_hook(fill), model.register_load_state_dict_post_hook(found)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _own_tensors(model: nn.Module, adapter_name: str) -> Iterator[tuple[str, nn.Parameter]]:
    """Name and tensor of what one adapter has in our layers, as `model` names it."""
    for name, layer in model.named_modules(remove_duplicate=False):
        if isinstance(layer, LabLayer):
            for tensor, own in layer.tensors(adapter_name).items():
                container, dot, rest = tensor.partition(".")
                yield f"{name}{'.' if name else ''}{container}.{adapter_name}{dot}{rest}", own


class LinearTuner(BaseTuner):
    """What PEFT does to a whole model while it puts an adapter on, in a time that is linear in its layers."""

    def _prepare_model(self, peft_config: Any, model: nn.Module) -> None:
        """Where PEFT is about to ask for the names of all modules."""
        super()._prepare_model(peft_config, model)
        name_outside_once(model)

    def _mark_only_adapters_as_trainable(self, model: nn.Module) -> None:
        """As PEFT's, which looks for every tensor's name among those of all adapters' parts."""
        apart = list(outside(model, BaseTunerLayer, AuxiliaryTrainingWrapper))
        trains_biases = any(getattr(self.peft_config[name], "bias", "none") != "none" for name in self.active_adapters)
        if trains_biases or any(isinstance(m, BaseTunerLayer) and not isinstance(m, LabLayer) for _, m in apart):
            super()._mark_only_adapters_as_trainable(model)
            return
        freeze(model, [module for _, module in apart if not isinstance(module, AuxiliaryTrainingWrapper)])

    @ordinary_mode()
    def _cast_adapter_dtype(self, adapter_name: str, autocast_adapter_dtype: bool = True) -> None:
        """As PEFT's, which looks for what is in a low precision in every part of every layer."""
        if holds_low(self.model):
            super()._cast_adapter_dtype(adapter_name, autocast_adapter_dtype)
