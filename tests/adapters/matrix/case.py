"""One cell of the matrix: an adapter and a model family, and the few steps that the operations share."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
import torch
from torch import Tensor, nn

from glora_lab.adapters import GloraConfig, GraloraConfig

from .families import FAMILIES, Family, built

STOCK = "LoRA"  # PEFT's own, whose answers stand beside those of ours (test_stock.py)
CONFIGS: dict[str, tuple[type, dict[str, Any]]] = {
    "GLoRA": (GloraConfig, {"r": 4, "alpha": 6}),
    "GraLoRA": (GraloraConfig, {"r": 8, "gralora_k": 2, "hybrid_r": 2, "alpha": 6}),
    STOCK: (peft.LoraConfig, {"r": 4, "lora_alpha": 6}),
}
OURS = tuple(name for name in CONFIGS if name != STOCK)
# PEFT's and our own warnings about what the operations do on purpose
KNOWN = (
    "Inert GLoRA paths",
    "Already found a `peft_config` attribute",
    "You are trying to modify a model with PEFT for a second time",
    "Already following adapters were merged",
    r"Adapter \w+ was active which is now deleted",
    "fan_in_fan_out is set to False but the target module is `Conv1D`",
)


class NotHere(Exception):
    """Why an operation has no meaning for a family."""


@dataclass(frozen=True)
class Case:
    adapter: str
    family: Family
    folder: Path

    @property
    def prefix(self) -> str:
        return f"{self.adapter.lower()}_"

    def config(self, **settings: Any) -> Any:
        """The adapter with random values, on one kind of layer, unless told otherwise."""
        cls, usual = CONFIGS[self.adapter]
        given = {**usual, "init_weights": False, **self.targets(**settings), **settings}
        if self.adapter == STOCK:
            given["init_lora_weights"] = given.pop("init_weights")
        return cls(**given)

    def targets(self, **settings: Any) -> dict[str, Any]:
        """What the family adapts; its parameters only where an operation names no layers of its own."""
        if not self.family.parameters:
            return {"target_modules": [self.family.target]}
        parameters = [] if "target_modules" in settings else list(self.family.parameters)
        return {"target_modules": [], "target_parameters": parameters}

    def adapted(self, **settings: Any) -> peft.PeftModel:
        return peft.get_peft_model(self.family.model(), self.config(**settings)).eval()

    def out(self, model: nn.Module) -> Tensor:
        """The logits of the family's batch, in evaluation mode."""
        training = model.training
        model.eval()
        with torch.no_grad():
            logits: Tensor = model(**self.family.batch).logits
        model.train(training)
        return logits

    def base_out(self) -> Tensor:
        """The logits of the model without adapters."""
        return base_logits(self.family.name)

    def tensors(self, model: nn.Module) -> dict[str, Tensor]:
        """A copy of every tensor."""
        return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@functools.cache
def base_logits(name: str) -> Tensor:
    family = next(one for one in FAMILIES if one.name == name)
    with torch.no_grad():
        logits: Tensor = built(name)(**family.batch).logits
    return logits


def same(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a, b)


def near(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, atol=2e-5, rtol=1e-4)


def same_tensors(model: nn.Module, before: dict[str, Tensor]) -> bool:
    now = model.state_dict()
    return now.keys() == before.keys() and all(torch.equal(now[name], before[name]) for name in before)


@torch.no_grad()
def shaken(model: nn.Module, std: float = 0.2) -> nn.Module:
    """With random values in all that trains, as training would leave it."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=std)
    return model


@contextmanager
def known_warnings(*more: str) -> Iterator[None]:
    with warnings.catch_warnings():
        for message in (*KNOWN, *more):
            warnings.filterwarnings("ignore", message=message)
        yield
