"""Small models with a method of one's own on them."""

from __future__ import annotations

import peft
import torch
from torch import nn

from glora_lab import DeltaMethod
from tests.adapters.block_models import BlockNet

TARGETS = ["encoder", "decoder"]


def own_model(method: type[DeltaMethod], model: nn.Module | None = None, **settings) -> peft.PeftModel:
    """`model`, or a small one in float64, with the method on encoder and decoder, a step beside its start."""
    model = BlockNet().double() if model is None else model
    adapted = peft.get_peft_model(model, method.config(**{"r": 4, "target_modules": TARGETS, **settings}))
    stir(adapted)
    return adapted.eval()


def stir(model: nn.Module) -> None:
    """Move everything that trains away from where it is."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn_like(parameter))


def encoder(model: peft.PeftModel) -> nn.Module:
    return model.base_model.model.encoder
