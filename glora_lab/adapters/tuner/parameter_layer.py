"""An adapter over one parameter of a module, most of all over the experts of a mixture of experts.

The module reads its parameter itself, all experts at once or one by one, so the adapter cannot add to what a layer
computes: while the module runs, W_eff = W0 + ΔW stands in the parameter's place. It is summed in at least float32 and
rounded once, as in merging, so that a merged model computes the same bits.

PEFT's layout: a wrapper around the module, `base_layer` within it; a module with two adapted parameters has a wrapper
within a wrapper, the first parameter's innermost. A name in a file tells its parameter by that depth alone, so every
adapter on a module is on the same of its parameters.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from glora_lab.adapters.base.frozen import InnermostLayer
from glora_lab.adapters.base.offload import offload_hook, onloaded
from glora_lab.adapters.base.parameter import ParameterAsLayer

from .module import LabModule
from .stack import InnerMerges

# a module has one place for a parameter, and two threads that run it would find each other's weight there
_ONE_AT_A_TIME = threading.RLock()


class ParameterLayer(LabModule):
    """An adapter over the parameter of a module whose name its own ends with."""

    train = nn.Module.train  # its module calls no layer that could be left out

    @property
    def parameter_name(self) -> str:
        return self.layer_name.rpartition(".")[2]

    @property
    def innermost(self) -> InnermostLayer:
        innermost: Any = ParameterAsLayer(self.get_base_layer(), self.parameter_name)
        return innermost

    # the wrappers beneath and above change other parameters, and tuners of another kind are refused
    @property
    def inner(self) -> InnerMerges:
        return InnerMerges(self.get_base_layer())

    @property
    def outer(self) -> list[Any]:
        return []

    def __getattr__(self, name: str) -> Any:
        """What the model asks of the module that is wrapped: a router's bias, a number of experts, or the very
        parameter, as DBRX does, which is then W_eff.

        Not what begins with an underscore, for accelerate's hook of that module is none of the wrapper's.
        """
        try:
            return nn.Module.__getattr__(self, name)
        except AttributeError:
            if name.startswith("_") or "base_layer" not in self.__dict__.get("_modules", {}):
                raise
            if name == self.parameter_name:
                with self._alone():
                    return self._effective(self._adding())
            return getattr(self.base_layer, name)

    def _adding(self) -> list[str]:
        """The adapters whose sum the module is to find, beside what it has."""
        if self.disable_adapters:
            if self.merged:
                self.unmerge()
            return []
        if self.merged:
            self.check_merged()
            return []
        return [name for name in self.active_adapters if self.contributes(name)]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs.pop("adapter_names", None) is not None:
            raise ValueError(
                f"{type(self).__name__} does not support mixed adapter batches yet: {self.layer_name!r} is a "
                "parameter, which all rows share."
            )
        names = self._adding()
        if not names:
            return self.base_layer(*args, **kwargs)
        with self._alone():
            weight = {".".join([*self._within(), self.parameter_name]): self._effective(names)}
            return functional_call(self.base_layer, weight, args, kwargs, tie_weights=False)

    def _effective(self, names: list[str]) -> Tensor:
        """W0 and what these adapters add, in the layout and the precision of W0."""
        weight = self.innermost.weight
        if not names:
            return weight
        delta, _ = self.added(names, torch.promote_types(weight.dtype, torch.float32))
        return weight if delta is None else (weight + delta).to(weight.dtype)

    def _within(self) -> Iterator[str]:
        """The way from `base_layer` to the module, through the wrappers of other parameters."""
        layer = self.base_layer
        while isinstance(layer, ParameterLayer):
            yield "base_layer"
            layer = layer.base_layer

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if torch.compiler.is_compiling():
            yield
            return
        base = self.get_base_layer()
        with _ONE_AT_A_TIME, onloaded([base] if offload_hook(base) is not None else []):
            yield

    def _move_adapter_to_device_of_base_layer(self, adapter_name: str, device: torch.device | None = None) -> None:
        """As PEFT's, which looks for a weight of the layer's own."""
        weight = self.innermost.weight
        for held in (getattr(self, container) for container in self.adapter_layer_names):
            if adapter_name in held and not _on_meta(held[adapter_name]):
                held[adapter_name] = held[adapter_name].to(device or weight.device, weight.dtype)

    def unload_and_optionally_merge_module(
        self, merge: bool, safe_merge: bool, adapter_names: list[str] | None
    ) -> nn.Module:
        """The module beneath all of its parameters' wrappers."""
        below = super().unload_and_optionally_merge_module(merge, safe_merge, adapter_names)
        if isinstance(below, ParameterLayer):
            return below.unload_and_optionally_merge_module(merge, safe_merge, adapter_names)
        return below


def _on_meta(item: nn.Module | Tensor) -> bool:
    tensors = [item] if isinstance(item, Tensor) else item.parameters()
    return any(tensor.device.type == "meta" for tensor in tensors)
