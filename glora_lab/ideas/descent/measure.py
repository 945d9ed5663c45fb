"""How the loss falls when the trained parameters follow the gradient on one batch, and how large a step may be.

Decision: the same whole batch at every step, in evaluation mode, so that nothing is random and two methods differ in
their parameters alone. The parameters that move are copies: the model itself is left as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from torch import nn

from glora_lab.adapters.tuner.method_names import method_name
from glora_lab.anatomy.batch import Batch, Loss, loss_of
from glora_lab.arguments import A_MODEL, check_key, check_kind, check_positive_int, check_positive_number
from glora_lab.models.mode import eval_mode

from .record import Descent, StableStep

OPTIMIZERS: Mapping[str, Callable[..., torch.optim.Optimizer]] = MappingProxyType(
    {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}  # plain: no momentum, no decay
)
FULL = "full fine-tuning"
FIRST_TRY, SMALLEST, LARGEST = 1e-2, 1e-12, 1e6  # learning rates


def descent(
    model: nn.Module, batch: Batch, *, lr: float, steps: int, optimizer: str = "sgd", loss: Loss | None = None
) -> Descent:
    """`steps` steps of gradient descent of all parameters that require a gradient, on one batch.

    Args:
        model: with an adapter, or without one: then it is full fine-tuning.
        batch, loss: as in `gradient_report`.
        lr: learning rate, the same for all steps.
        optimizer: "sgd", without momentum, or "adam", with torch's defaults.

    Returns:
        `losses[n]` is the loss after n steps, (steps + 1,); it ends early with the first that is no finite number.

    Raises:
        ValueError: where a number, the optimizer, the batch or the loss cannot work.
    """
    check_positive_number("lr", lr)
    check_positive_int("steps", steps)
    check_key("optimizer", optimizer, OPTIMIZERS, "must be one of")
    losses = _descend(model, batch, loss, lr, steps, optimizer, lambda value, first: not np.isfinite(value))
    return Descent(_method(model), optimizer, float(lr), losses)


def stable_step(
    model: nn.Module, batch: Batch, *, steps: int = 60, within: float = 0.02, loss: Loss | None = None
) -> StableStep:
    """The largest stable learning rate of plain gradient descent, found by bisection.

    A learning rate is stable when, in `steps` steps from the model's own parameters, no loss is above the one before
    the first step (`Descent.stable`). Doubling or halving from 0.01 brackets an edge between a stable and an unstable
    rate, and bisection in the logarithm narrows it; `largest` is the stable side. Were there several edges, it is one
    of them. Everything is deterministic.

    Args:
        model, batch, loss: as in `descent`.
        steps: how many must be stable.
        within: the edge is known to a factor of 1 + `within`.

    Raises:
        ValueError: where no learning rate from 1e-12 to 1e6 is stable, or all are; otherwise as `descent`.
    """
    check_positive_int("steps", steps)
    check_positive_number("within", within)
    tried: dict[float, Descent] = {}

    def is_stable(lr: float) -> bool:
        losses = _descend(model, batch, loss, lr, steps, "sgd", lambda value, first: not value <= first)
        tried[lr] = Descent(_method(model), "sgd", lr, losses)
        return tried[lr].stable

    low = high = FIRST_TRY
    if is_stable(FIRST_TRY):
        while high <= LARGEST and is_stable(high := 2 * high):
            low = high
    else:
        while low >= SMALLEST and not is_stable(low := low / 2):
            high = low
    if high > LARGEST or low < SMALLEST:
        every = "every" if high > LARGEST else "no"
        raise ValueError(f"`model` (={type(model).__name__}) is stable on this `batch` at {every} learning rate tried")
    while high / low > 1 + within:
        middle = (low * high) ** 0.5
        low, high = (middle, high) if is_stable(middle) else (low, middle)
    return StableStep(_method(model), steps, low, tuple(tried[lr] for lr in sorted(tried)))


def _descend(
    model: nn.Module,
    batch: Batch,
    loss: Loss | None,
    lr: float,
    steps: int,
    optimizer: str,
    give_up: Callable[[float, float], bool],
) -> np.ndarray:
    """The losses, to the last step or to the first loss at which `give_up(loss, first loss)`."""
    check_kind("model", model, nn.Module, A_MODEL)
    moving = {n: p.detach().clone().requires_grad_() for n, p in model.named_parameters() if p.requires_grad}
    if not moving:
        raise ValueError(f"`model` (={type(model).__name__}) has no parameter that requires a gradient")
    stepper = OPTIMIZERS[optimizer](moving.values(), lr=lr)

    def moved(*args: Any, **kwargs: Any) -> Any:
        return torch.func.functional_call(model, moving, args, kwargs)

    losses: list[float] = []
    with eval_mode(model):
        for step in range(steps + 1):
            value = loss_of(moved, batch, loss)
            losses.append(value.item())
            if step == steps or give_up(losses[-1], losses[0]):
                break
            stepper.zero_grad()
            value.backward()
            stepper.step()
    return np.array(losses)


def _method(model: nn.Module) -> str:
    if not isinstance(model, PeftModel):
        return FULL
    return method_name(model.peft_config[model.active_adapter])
