"""A method's layer as a module of the model, in the place of the layer that it adapts."""

from __future__ import annotations

from typing import Any

from torch import nn

from .layer import LabLayer


class LabModule(nn.Module, LabLayer):
    """A `LabLayer` as it stands in a model, over an `nn.Linear` or a `transformers` `Conv1D`, or over a layer that
    already carries an adapter.

    Input (..., in) of any rank, output (..., out) in the base's own dtype.
    """

    def __init__(self, base_layer: nn.Module, adapter_name: str, config: Any, layer_name: str = "") -> None:
        super().__init__()
        super(nn.Module, self).__init__(base_layer, layer_name)
        self._active_adapter = adapter_name
        self.update_layer(adapter_name, config)

    forward, train = LabLayer.forward, LabLayer.train  # nn.Module has its own, and comes first

    def __repr__(self) -> str:
        return f"{self.prefix[:-1]}.{super().__repr__()}"  # as PEFT's "lora.Linear"
