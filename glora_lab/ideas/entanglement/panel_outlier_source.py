"""Where EntanglementPanel's gradients come from: a synthetic layer, or one layer of a model with a real batch."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, TypeAlias

from peft import LoraConfig, PeftConfig
from torch import nn

from glora_lab.adapters.base.frozen import features
from glora_lab.adapters.view import adapted_layers, find_layer
from glora_lab.anatomy.batch import Batch, Loss
from glora_lab.models import OUTLIER_LAYER, amplified, outlier_layer
from glora_lab.page.controls.example import adapt

from .measure import gradient_report
from .record import GradientReport

Configs: TypeAlias = Mapping[str, PeftConfig]
Reports: TypeAlias = dict[str, GradientReport]


class SyntheticSource:
    """`outlier_layer`: the outlier is made, wherever and as large as the controls say."""

    layer = OUTLIER_LAYER
    start = (10, 100.0)  # channel, magnitude

    def __init__(self, size: int) -> None:
        self.features = (size, size)

    def reports(self, configs: Configs, *, channel: int, magnitude: float, scaling: str, seed: int) -> Reports:
        """Name → report of a fresh adapter of that configuration."""
        _, into = self.features
        model, batch = outlier_layer(size=into, channel=channel, magnitude=magnitude, seed=seed)
        found = {}
        for name, config in configs.items():
            adapted = adapt(model, config, seed=1000 + seed)  # not the layer's own random numbers again
            found[name] = gradient_report(adapted, batch, self.layer, scaling=scaling)
            model = adapted.unload()
        return found

    def says(self, channel: int, magnitude: float) -> str:
        out, into = self.features
        times = f"{magnitude:.3g} times as large as the others" if magnitude != 1 else "no larger than the others"
        layer = f"A synthetic layer, {into} inputs and {out} outputs, off its targets by noise alone"
        return f"{layer}; input channel {channel} is {times}."


class LayerSource:
    """One linear layer of a model, with the model's own loss on a batch. The layer's strongest channel is found; the
    magnitude multiplies the chosen channel before the layer, and 1, where it starts, leaves the model as it is.

    The model is not touched: adapters come and go on a copy that the panel makes once.
    """

    def __init__(self, model: nn.Module, layer: str, batch: Batch, loss: Loss | None, batch_says: str) -> None:
        self._model, self._batch, self._loss, self._batch_says = model, batch, loss, batch_says
        self.layer = layer
        into, out = features(model.get_submodule(layer))
        self.features = (out, into)
        alone = self.reports(
            {"": LoraConfig(r=1, target_modules=[layer])}, channel=0, magnitude=1, scaling="as is", seed=0
        )
        strongest = alone[""].strongest()
        self.strongest, self.prominence = strongest[0] if strongest else (0, 0.0)
        self.start = (self.strongest, 1.0)

    def reports(self, configs: Configs, *, channel: int, magnitude: float, scaling: str, seed: int) -> Reports:
        """Name → report of a fresh adapter of that configuration."""
        found = {}
        for name, config in configs.items():
            adapted = adapt(self._model, config, seed=1000 + seed)
            try:
                target: Any = find_layer(adapted, self.layer)[1]
                with amplified(target, channel, magnitude) if magnitude != 1 else nullcontext():
                    found[name] = gradient_report(adapted, self._batch, self.layer, loss=self._loss, scaling=scaling)
            finally:
                adapted.unload()
        return found

    def says(self, channel: int, magnitude: float) -> str:
        found = f"Its strongest channel is {self.strongest}, {self.prominence:.1f} times the median."
        times = (
            f"Channel {channel} is multiplied by {magnitude:.3g} before the layer."
            if magnitude != 1
            else ("Nothing is multiplied: this is the model as it is.")
        )
        return f"A real layer with {self._batch_says}. {found} {times}"


def own_copy(model: nn.Module) -> nn.Module:
    """A copy for adapters to come and go on. Raises ValueError where the model carries one already."""
    if adapted_layers(model):
        raise ValueError(f"`model` (={type(model).__name__}) carries an adapter already; give the model beneath it")
    return copy.deepcopy(model)
