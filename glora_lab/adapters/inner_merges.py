"""Which adapters of the inner layers are merged, while an outer one puts tensors of its own into their leaf.

PEFT's layers merge in place and trust that the leaf's weight contains what they merged. An outer layer that
assigns another weight therefore says what that one contains, and lets the inner layers do again what they have
done since.
"""

from __future__ import annotations

from typing import cast

from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn


class InnerMerges:
    """The tuner layers from `layer` inwards, outermost first; none where it is a plain layer."""

    def __init__(self, layer: nn.Module) -> None:
        self.tuners: list[BaseTunerLayer] = []
        while isinstance(layer, BaseTunerLayer):
            self.tuners.append(layer)
            layer = cast(nn.Module, layer.base_layer)

    def names(self) -> list[list[str]]:
        """The merged adapters of each."""
        return [list(tuner.merged_adapters) for tuner in self.tuners]

    def say(self, names: list[list[str]]) -> None:
        """Let each layer take these for merged: the leaf's weight contains them."""
        for tuner, merged in zip(self.tuners, names, strict=True):
            tuner.merged_adapters = list(merged)

    def redo(self, contained: list[list[str]]) -> None:
        """Bring a leaf that contains these to what the layers say is merged."""
        for tuner, then in zip(self.tuners, contained, strict=True):
            now = tuner.merged_adapters
            if now != then:
                tuner.merged_adapters = list(then)
                if then:
                    tuner.unmerge()
                if now:
                    tuner.merge(adapter_names=now)
