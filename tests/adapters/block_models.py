"""Small models whose layers every k in 1, 2, 3, 4, 8 divides, with stock PEFT's GraLoRA and ours on them."""

from __future__ import annotations

import copy

import peft
import torch
from torch import Tensor, nn

from glora_lab.adapters import GraloraConfig, GraloraLinear

from .small_models import conv1d

KS = [1, 2, 3, 4, 8]
R = 24
BASES = {"Linear": nn.Linear, "Conv1D": conv1d}
INDIVISIBLE = "Indivisible layers"


class BlockNet(nn.Module):
    """Two layers of 24 and 48 features, and a head of 3."""

    def __init__(self, bias: bool = True) -> None:
        super().__init__()
        self.encoder = nn.Linear(24, 48, bias=bias)
        self.decoder = nn.Linear(48, 24, bias=bias)
        self.head = nn.Linear(24, 3, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.decoder(torch.tanh(self.encoder(x)))))


def gralora_layer(base: nn.Module, **settings) -> GraloraLinear:
    """One layer with random blocks in it."""
    settings = {"r": R, "alpha": 16, "gralora_k": 4, "init_weights": False, **settings}
    return GraloraLinear(base, "default", GraloraConfig(**settings), layer_name="layer")


def config(cls: type = GraloraConfig, **settings) -> peft.PeftConfig:
    defaults = {"r": R, "alpha": 16, "gralora_k": 4, "init_weights": False, "target_modules": ["encoder", "decoder"]}
    return cls(**{**defaults, **settings})


def gralora_model(model: nn.Module, adapter_name: str = "default", **settings) -> peft.PeftModel:
    """`model` with random blocks on encoder and decoder, in evaluation mode."""
    return peft.get_peft_model(model, config(**settings), adapter_name=adapter_name).eval()


def stock_model(model: nn.Module, **settings) -> peft.PeftModel:
    return peft.get_peft_model(model, config(peft.GraloraConfig, **settings)).eval()


def stock_and_ours(model: nn.Module, **settings) -> tuple[peft.PeftModel, peft.PeftModel]:
    """The same model twice, with the same values in stock PEFT's GraLoRA and in ours."""
    stock, ours = stock_model(copy.deepcopy(model), **settings), gralora_model(model, **settings)
    ours.load_state_dict(stock.state_dict())  # strict: every name and shape is the same
    return stock, ours


def add(model: peft.PeftModel, adapter_name: str, **settings) -> None:
    model.add_adapter(adapter_name, config(**settings))


def encoder(model: peft.PeftModel) -> nn.Module:
    return model.base_model.model.encoder
