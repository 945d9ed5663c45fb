"""A model without its weights: the same modules on torch's meta device, free to adapt, count and throw away."""

from __future__ import annotations

import copy
from typing import cast

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTuner
from torch import nn
from transformers import PretrainedConfig

from glora_lab.models.architectures import meta_model


def skeleton(model_or_config: nn.Module | PretrainedConfig) -> nn.Module:
    """A copy that shares nothing with the model and takes no memory for weights; adapters are left out."""
    if isinstance(model_or_config, PretrainedConfig):
        return meta_model(model_or_config)
    model = model_or_config
    tensors = [*model.parameters(), *model.buffers()]
    # deepcopy takes what it finds in its memo for a copy already made
    memo = {id(t): _meta(t) for t in tensors}
    twin = copy.deepcopy(model, memo)
    return cast(BaseTuner, twin.base_model).unload() if isinstance(twin, PeftModel) else twin


def _meta(tensor: torch.Tensor) -> torch.Tensor:
    empty = torch.empty_like(tensor, device="meta")
    return nn.Parameter(empty, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
