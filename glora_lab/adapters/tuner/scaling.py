"""How strongly an adapter counts: LoRA's `set_scale`, `scale_layer` and `unscale_layer`, and PEFT's
`rescale_adapter_scale`.

All of ΔW and Δb is scaled. `scaling` starts as the configuration has it and multiplies GLoRA's low-rank products
alone; what it has been changed by since (`factor`) multiplies every path, so that half the scale is half the way
from the base to the adapted layer in any mode. As in PEFT, a scale is not saved with the adapter.
"""

from __future__ import annotations

from abc import ABC
from typing import Any

from peft import helpers
from peft.tuners.lora.layer import LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer

from glora_lab.arguments import check_number, refuse


class ScaledLayer(BaseTunerLayer):
    """Scales by adapter, over a subclass's `scaling` and its `plans`, which remember the configured one."""

    layer_name: str
    scaling: dict[str, float]
    plans: dict[str, Any]

    def set_scale(self, adapter: str, scale: float) -> None:
        """Make this adapter, where the layer has it, count `scale` times as much as it is configured to."""
        check_number("scale", scale)
        if adapter in self.scaling:
            self.scaling[adapter] = scale * self.plans[adapter].scaling

    def scale_layer(self, scale: float) -> None:
        """Multiply the present scale of the active adapters."""
        check_number("scale", scale)
        for name in self.active_adapters:
            if name in self.scaling:
                self.scaling[name] *= scale

    def unscale_layer(self, scale: float | None = None) -> None:
        """Divide the present scale of the active adapters; None: back to the configured one."""
        if scale is not None:
            check_number("scale", scale)
            if scale == 0:
                raise refuse("scale", scale, "must not be 0: `unscale_layer()` brings the configured scale back")
        for name in self.active_adapters:
            if name in self.scaling:
                self.scaling[name] = self.plans[name].scaling if scale is None else self.scaling[name] / scale

    def factor(self, adapter: str) -> float:
        """How much the adapter counts, relative to its configuration."""
        configured: float = self.plans[adapter].scaling
        return 1.0 if self.scaling[adapter] == configured else self.scaling[adapter] / configured

    def check_scaling(self, merged: dict[str, float]) -> None:
        """Refuse to go on with adapters that were merged with another scale (adapter → scaling) than they have."""
        for name, then in merged.items():
            if self.scaling[name] != then:
                raise ValueError(
                    f"`scaling` of adapter {name!r} (={self.scaling[name]!r}) was {then!r} when it was merged into "
                    f"layer {self.layer_name!r}, and merged weights do not follow: call `unmerge_adapter` first."
                )


class Scalable(ABC):  # noqa: B024 — a name for two families of classes
    """The layers that `peft.helpers.rescale_adapter_scale` scales: those with a `scaling` that all of ΔW follows."""


Scalable.register(LoraLayer)
Scalable.register(ScaledLayer)
# It asks which layers are LoRA's, under this name, and names them when there is none. The function stays PEFT's, so
# that it is the same however it was imported.
helpers.LoraLayer = Scalable  # type: ignore[assignment, misc]
