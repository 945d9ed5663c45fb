"""The arms of the experiment: what is trained on minilm, each in so many sizes as make sense.

A budget is the rank of the LoRA that has as many parameters: 8, 32 and 128, of layers 384 wide. Decisions. No scaling
by α anywhere (α = r, or none), so that a rank is not a step size, too; the learning rate of each arm and budget is
looked for instead. With that GLoRA's path B alone is LoRA, number for number (a test holds it), and is not run twice.
All arms train the same head on what the first token's state says, 770 numbers, which are not counted.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from peft import LoraConfig, PeftConfig, get_peft_model
from torch import nn

from glora_lab.adapters.glora.config import GloraConfig
from glora_lab.adapters.gralora.config import GraloraConfig
from glora_lab.arguments import check_choice, refuse

BUDGETS = (8, 32, 128)
HEAD = "classifier"
LAYERS = r".*encoder\.layer\.\d+\..*(query|key|value|dense)"
# In each layer of GLoRA with all paths A and B have this rank, where B alone has the budget's: C, D and E are vectors.
# At the smallest budget a rank of 3 leaves 6% unused, and one more in query and value takes up all but 1% of it.
ALL_PATHS: Mapping[int, tuple[int, dict[str, int]]] = MappingProxyType(
    {8: (3, {"query": 4, "value": 4}), 32: (15, {}), 128: (63, {})}
)
SEARCHED = "GLoRA, searched"


@dataclass(frozen=True)
class Arm:
    """`config` makes the adapter of a budget (0: it has but one size), None where none is added. `guess` is the
    learning rate that is tried first, by budget."""

    name: str
    config: Callable[[int], PeftConfig] | None
    guess: Mapping[int, float]

    @property
    def budgets(self) -> tuple[int, ...]:
        return tuple(self.guess)


def _lora(r: int) -> PeftConfig:
    return LoraConfig(r=r, lora_alpha=r, target_modules=LAYERS, modules_to_save=[HEAD])


def _gralora(k: int) -> Callable[[int], PeftConfig]:
    return lambda r: GraloraConfig(r=r, gralora_k=k, alpha=r, **_where())


def _glora(**modes: str) -> Callable[[int], PeftConfig]:
    """Paths A and B share a budget."""
    return lambda r: GloraConfig.only(r=max(r // 2, 1), **modes, **_where())


def _all_paths(budget: int) -> PeftConfig:
    rank, more = ALL_PATHS[budget]
    modes = {"A": "lora", "B": "lora", "C": "vector", "D": "vector", "E": "vector"}
    return GloraConfig.only(r=rank, rank_pattern=dict(more), **modes, **_where())


def _where() -> dict[str, Any]:
    return {"target_modules": LAYERS, "modules_to_save": [HEAD]}


_FALLING = {8: 1e-3, 32: 1e-3, 128: 5e-4}
ARMS: Mapping[str, Arm] = MappingProxyType(
    {
        arm.name: arm
        for arm in (
            Arm("linear probe", None, {0: 1e-2}),
            Arm("LoRA", _lora, _FALLING),
            Arm("GraLoRA k=4", _gralora(4), {8: 2e-3, 32: 2e-3, 128: 1e-3}),
            Arm("full fine-tuning", None, {0: 1e-4}),
            Arm("GLoRA, all paths", _all_paths, _FALLING),
            Arm("GLoRA A+B", _glora(A="lora", B="lora"), _FALLING),
            Arm("GraLoRA k=2", _gralora(2), {8: 2e-3, 32: 1e-3, 128: 5e-4}),
            Arm("GraLoRA k=8", _gralora(8), {8: 5e-3, 32: 2e-3, 128: 2e-3}),
            Arm("BitFit", _glora(E="vector"), {0: 1e-2}),
            Arm("GLoRA, vectors", _glora(A="vector", B="vector", C="vector", D="vector", E="vector"), {0: 5e-3}),
            Arm(SEARCHED, None, _FALLING),
        )
    }
)

CORE = ("linear probe", "LoRA", "GraLoRA k=4", "full fine-tuning", "GLoRA, all paths")  # what is finished first


def adapted(model: nn.Module, name: str, budget: int, seed: int, found: PeftConfig | None = None) -> nn.Module:
    """A copy of `model` as the arm trains it, new tensors drawn from `seed`; `found` is what the search has found.

    Raises:
        ValueError: for an arm or a budget that there is not, or a searched arm without what was found.
    """
    check_choice("name", name, ARMS)
    arm = ARMS[name]
    if budget not in arm.guess:
        raise refuse("budget", budget, f"must be one of {name}'s: {', '.join(map(str, arm.budgets))}")
    if (name == SEARCHED) != (found is not None):
        raise refuse("found", found, f"must be a configuration for {SEARCHED}, and for no other arm")
    own = copy.deepcopy(model)
    if name == "full fine-tuning":
        return own.requires_grad_(True)
    if name == "linear probe":
        own.requires_grad_(False).get_submodule(HEAD).requires_grad_(True)
        return own
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return get_peft_model(own, found or arm.config(budget))  # type: ignore[misc]


def trained_params(model: nn.Module) -> int:
    """What trains, without the head."""
    parameters = [(name, p.numel()) for name, p in model.named_parameters() if p.requires_grad]
    return sum(count for name, count in parameters if HEAD not in name.split("."))
