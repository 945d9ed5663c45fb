"""torch's own encoder layers, which in evaluation may compute from the weights and call no layer of theirs.

An `nn.TransformerEncoderLayer` does so unless one of its modules has a forward hook, so an adapted one gets a hook that
does nothing. An `nn.TransformerEncoder` before that packs padded batches into nested tensors, which its attention takes
only where no gradient is wanted. It looks for that at the frozen weights of its first layer; with adapters in it, it is
told not to pack while gradients are recorded.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class WithoutGradient:
    """True while no gradients are recorded: what an encoder with adapters holds as its `use_nested_tensor`."""

    def __bool__(self) -> bool:
        return not torch.is_grad_enabled()


def be_called(layer: nn.Module, parent: nn.Module) -> None:
    """See to it that `parent` calls an adapted layer of its own."""
    if isinstance(parent, nn.TransformerEncoderLayer):
        layer.register_forward_pre_hook(_nothing)


def set_encoder_packing(model: nn.Module, layer_class: type) -> None:
    """Let the encoders that hold such layers pack without gradients alone, and the others as they did."""
    for encoder in model.modules():
        if isinstance(encoder, nn.TransformerEncoder):
            held, adapted = encoder.use_nested_tensor, any(isinstance(m, layer_class) for m in encoder.modules())
            if adapted and held is True:
                encoder.use_nested_tensor = WithoutGradient()  # type: ignore[assignment]
            elif not adapted and isinstance(held, WithoutGradient):
                encoder.use_nested_tensor = True


def _nothing(layer: nn.Module, args: Any) -> None:
    return None
