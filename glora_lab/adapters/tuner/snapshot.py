"""What an injection changes in a model, kept so that one that fails leaves the model as it was."""

from __future__ import annotations

import copy

from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import nn


class Snapshot:
    """Which module sits where, what trains, and which adapters each layer knows."""

    KNOWN = ("_active_adapter", "_adapters", "targeted_module_names", "targeted_parameter_names")

    def __init__(self, tuner: BaseTuner, model: nn.Module) -> None:
        modules = list(model.modules())
        self.children = [(module, dict(module._modules)) for module in modules]
        self.held = [(d, dict(d.items())) for d in modules if isinstance(d, nn.ParameterDict)]
        self.trainable = [(p, p.requires_grad) for m in modules for p in m._parameters.values() if p is not None]
        self.known = [
            (module, name, copy.copy(vars(module)[name]))
            for module in [tuner, *(m for m in modules if isinstance(m, BaseTunerLayer | AuxiliaryTrainingWrapper))]
            for name in (*self.KNOWN, *getattr(module, "other_param_names", ()))
            if name in vars(module)
        ]

    def restore(self) -> None:
        for module, children in self.children:
            module._modules.clear()
            module._modules.update(children)
        for parameters, held in self.held:
            parameters.clear()
            parameters.update(held)
        for parameter, requires_grad in self.trainable:
            parameter.requires_grad = requires_grad
        for module, name, value in self.known:
            setattr(module, name, value)
