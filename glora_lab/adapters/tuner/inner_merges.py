"""Which adapters of the inner layers are merged, while an outer one puts tensors of its own into the innermost layer.

PEFT's layers merge in place and trust that the innermost layer's weight contains what they merged. An outer layer that
assigns another weight therefore says what that one contains, and lets the inner layers do again what they have
done since.
"""

from __future__ import annotations

from typing import Any, cast

from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from .outer_layers import has_dora


class InnerMerges:
    """The tuner layers from `layer` inwards, outermost first; none where it is a plain layer."""

    def __init__(self, layer: nn.Module) -> None:
        self.tuners: list[BaseTunerLayer] = []
        while isinstance(layer, BaseTunerLayer):
            self.tuners.append(layer)
            layer = cast(nn.Module, layer.base_layer)

    def unmerged_doras(self) -> list[BaseTunerLayer]:
        """The layers whose output depends on the norm of the innermost weight: nothing may be merged there."""
        return [tuner for tuner in self.tuners if not tuner.merged and has_dora(tuner)]

    def names(self) -> list[list[str]]:
        """The merged adapters of each."""
        return [list(tuner.merged_adapters) for tuner in self.tuners]

    def say(self, names: list[list[str]]) -> None:
        """Let each layer take these for merged: the innermost layer's weight contains them."""
        for tuner, merged in zip(self.tuners, names, strict=True):
            tuner.merged_adapters = list(merged)

    def norms(self) -> list[dict[str, Any]]:
        """What each layer remembers for unmerging: a DoRA the norms that it divided by, until it has unmerged once."""
        return [dict(getattr(tuner, "_caches", {})) for tuner in self.tuners]

    def redo(self, contained: list[list[str]], norms: list[dict[str, Any]]) -> None:
        """Bring an innermost layer that contains these to what the layers say is merged."""
        for tuner, then, remembered in zip(self.tuners, contained, norms, strict=True):
            now = tuner.merged_adapters
            if now != then:
                tuner.merged_adapters = list(then)
                getattr(tuner, "_caches", {}).update(remembered)
                if then:
                    tuner.unmerge()
                if now:
                    tuner.merge(adapter_names=now)
