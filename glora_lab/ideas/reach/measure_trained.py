"""Training one real adapter towards a change of W: whether gradient descent finds what theory says can be had."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from peft import PeftConfig, get_peft_model
from torch import nn

from glora_lab.arguments import A_CONFIG, check_count, check_kind, check_positive_int, check_positive_number

from .measure_weight_changes import as_numbers


def trained_error(
    change: np.ndarray, config: PeftConfig, *, steps: int = 300, lr: float = 0.03, seed: int = 0
) -> float:
    """‖change − ΔW‖ / ‖change‖ (Frobenius) after an adapter on a linear layer was trained to make that change.

    The layer's frozen weight is zero. It is asked for its outputs to all unit vectors at once, which are the columns
    of its weight, and Adam with a cosine schedule lessens their squared distance to the change, in float64.

    Args:
        change: (out, in).
        config: any adapter of PEFT's or ours for a linear layer; its `target_modules` is not looked at. GLoRA's path A
            multiplies the zero weight, and can do nothing here.
        steps, lr: of Adam, on a change of norm 1.
        seed: of the adapter's initial values; the caller's random state is kept.

    Raises:
        ValueError: for a change that is zero or no matrix, or for a step count, rate or seed that cannot work.
    """
    check_kind("config", config, PeftConfig, A_CONFIG)
    wanted = torch.as_tensor(as_numbers("change", change))
    size = float(wanted.norm())
    if wanted.ndim != 2 or not size:
        raise ValueError(f"`change` (of shape {tuple(wanted.shape)}) must be a matrix (out, in) that is not zero")
    check_positive_int("steps", steps)
    check_positive_number("lr", lr)
    check_count("seed", seed)
    model = _adapted(wanted.shape, config, seed)
    wanted, units = wanted.T / size, torch.eye(wanted.shape[1], dtype=wanted.dtype)
    adam = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    for _ in range(steps):
        adam.zero_grad()
        (model(units) - wanted).square().sum().backward()
        adam.step()
        schedule.step()
    with torch.no_grad():
        return float((model(units) - wanted).norm())


def _adapted(shape: torch.Size, config: PeftConfig, seed: int) -> nn.Module:
    """A linear layer whose frozen weight is zero, under an adapter of its own."""
    out_features, in_features = shape
    own: Any = copy.deepcopy(config)
    own.target_modules = {"0"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = nn.Linear(in_features, out_features, bias=False, dtype=torch.float64)
        nn.init.zeros_(layer.weight)
        return get_peft_model(nn.Sequential(layer), own, autocast_adapter_dtype=False)
