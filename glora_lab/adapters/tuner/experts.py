"""Experts that are parameters and no layers, which "all-linear" and the names of former layers do not reach.

Since transformers 5 the experts of nearly all mixture-of-experts models are fused: `gate_up_proj` and `down_proj` of
three axes where there was a list of modules w1, w2, w3. They are most of the model, and an adapter that leaves them
out says nothing of it by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from glora_lab.adapters.base.frozen import SUPPORTED
from glora_lab.arguments import ALL_LINEAR
from glora_lab.wording import NAME, few, within

from .targets import innermost_of, outside

MOST = 6


def expert_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Name → parameter, for experts that are no layers of their own: weights in a module called after them."""
    return _expert_parameters(outside(model, BaseTunerLayer))


def _expert_parameters(modules: Iterable[tuple[str, nn.Module]]) -> dict[str, nn.Parameter]:
    found = {}
    for name, held in modules:
        module = innermost_of(held)
        a_layer = isinstance(module, SUPPORTED) or type(module).__module__.startswith("torch.")
        if a_layer or "expert" not in f"{name} {type(module).__name__}".lower():
            continue
        for parameter, tensor in module.named_parameters(recurse=False):
            axes = 2 if "bias" in parameter else 1  # DBRX keeps its experts below each other, as one matrix
            if tensor.ndim > axes and tensor.dtype.is_floating_point:
                found[f"{name}.{parameter}"] = tensor
    return found


def hint_at_experts(modules: Mapping[str, nn.Module]) -> str:
    """What to add where modules that hold experts (name → module) were named as layers; else an empty string."""
    experts = _expert_parameters(modules.items())
    return f". Its experts are parameters: target_parameters=[{_ends(experts)}]" if experts else ""


def experts_left_out(model: nn.Module, config: Any) -> str:
    """What to say of experts that `config` seems to mean and does not reach; empty where there is nothing to say."""
    if config.target_parameters is not None:  # also an empty list: they are meant to stay
        return ""
    targets, experts = config.target_modules, expert_parameters(model)
    if not experts or not targets:
        return ""
    if isinstance(targets, str):
        vain = [targets] if targets.lower() == ALL_LINEAR else []
    else:
        words = [name.split(".") for name, _ in outside(model, BaseTunerLayer)]
        ends = {".".join(name[start:]) for name in words for start in range(len(name))}
        vain = sorted(set(targets) - ends)
    if not vain:
        return ""
    share = sum(p.numel() for p in experts.values()) / sum(p.numel() for p in model.parameters())
    return f"`target_modules` ({few(vain)}) {_does_not_reach(experts, share)}"


def _does_not_reach(experts: dict[str, nn.Parameter], share: float) -> str:
    return (
        f"does not reach the experts of this model, {share:.0%} of its weights, which stay as they are: they are no "
        f"layers but parameters, {few(list(experts))}. Adapt them with target_parameters=[{_ends(experts)}], or say "
        "with target_parameters=[] that they are meant to stay."
    )


def _ends(experts: dict[str, nn.Parameter]) -> str:
    """What names them all: the last two words of each."""
    ends = list(dict.fromkeys(".".join(name.split(".")[-2:]) for name in experts))
    return ", ".join(repr(within(end, NAME)) for end in ends[:MOST]) + ", …" * (len(ends) > MOST)
