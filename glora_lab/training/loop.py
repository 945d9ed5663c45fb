"""Training as a generator: one `Step` per step, so that a notebook loops over it, a test lists it and a
panel advances it.

Decisions. Whatever can be wrong is found when `fit` is called, not when the first step is asked for; one
forward pass on two examples is part of that. `Step.seconds` counts the time spent in here alone: what the
caller does between two steps, a pause or a drawing, is no training time. Between two steps the model is in
eval mode and `.grad` still holds the step's gradient, so a caller can look at either.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from numbers import Integral, Real
from time import perf_counter
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from glora_lab.arguments import A_MODEL, check_flag, check_key, check_kind, check_seed, refuse
from glora_lab.data import Part, Task, check_fits
from glora_lab.data.task import A_TASK
from glora_lab.ideas.training.record import Step
from glora_lab.models.mode import eval_mode

from .evaluate import evaluate
from .frozen_prefix import FrozenPrefix
from .mode import TrainMode
from .randomness import Randomness

Metric: TypeAlias = Callable[[nn.Module, Part], float]

POOLED = 16  # batches whose texts are sorted by length
#: Name → optimizer of torch, as `fit` takes it.
OPTIMIZERS: Mapping[str, type[torch.optim.Optimizer]] = MappingProxyType(
    {"adam": torch.optim.AdamW, "sgd": torch.optim.SGD}  # AdamW is Adam where weight_decay is 0
)


def fit(
    model: nn.Module,
    task: Task,
    *,
    steps: int,
    lr: float,
    seed: int,
    batch_size: int = 32,
    weight_decay: float = 0.0,
    eval_every: int = 10,
    optimizer: str = "adam",
    metric: Metric = evaluate,
    keep_frozen: bool = False,
) -> Generator[Step, None, None]:
    """Train the parameters of `model` that require a gradient on `task`, one step per `next()`.

    The same seed gives the same numbers on the same machine, dropout included, and the caller's random state is kept.
    However training ends, the model is left in eval mode.

    Args:
        model: called with a batch as keyword arguments, it returns an object with `.loss`; on any one device.
        task: its training part is learnt, its validation part measured.
        steps: batches to learn.
        lr: learning rate, the same for all steps.
        seed: of the order of the examples, and of dropout.
        batch_size: examples a step.
        weight_decay: as torch's optimizers take it; "adam" decouples it (AdamW).
        eval_every: steps between two measurements; the first step and the last are measured as well.
        optimizer: "adam", or "sgd" without momentum.
        metric: `metric(model, part)`, a number, also as a zero-dimensional tensor or array, and nan where there is
            none.
        keep_frozen: asks the layers below all that trains once about each example, and keeps what they say
            (`FrozenPrefix`): with adapters in the last layers a step costs what those cost, and the numbers are the
            plain run's to rounding where these layers have no dropout.

    Returns:
        A generator of `steps` records, with the batch's loss before the update and the latest measurement.

    Raises:
        ValueError: at once, for an argument that cannot work; at the first measurement for a `metric` that gives no
            number.
        FloatingPointError: before the weights change, at a step whose loss or gradient is not finite.
    """
    _check_numbers(steps, lr, seed, batch_size, weight_decay, eval_every)
    check_key("optimizer", optimizer, OPTIMIZERS, "must be one of")
    if not callable(metric):
        raise refuse("metric", metric, "must be a function of a model and a part, as evaluate is")
    check_flag("keep_frozen", keep_frozen)
    check_kind("model", model, nn.Module, A_MODEL)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise ValueError("`model` must have at least one parameter that requires a gradient; all are frozen")
    _check_task(model, task)
    train = task.train.to(parameters[0].device)
    mode = TrainMode(model)
    randomness = Randomness(seed, parameters[0].device)
    draws = randomness.is_drawn_by(lambda: _try_out(model, task, train, mode))
    update = OPTIMIZERS[optimizer](parameters, lr=lr, weight_decay=weight_decay, fused=True)  # type: ignore[call-arg]
    advance = _Advance(model, update, mode, randomness if draws else None)

    with_kept = FrozenPrefix(model, train.rows(slice(0, 2))).used if keep_frozen else nullcontext

    def measure() -> float:
        return _as_number(metric(model, task.validation))

    return _run(advance, batches(train, batch_size, seed), steps, measure, eval_every, with_kept)


def _run(
    advance: _Advance,
    batches: Iterator[dict[str, Tensor]],
    steps: int,
    measure: Callable[[], float],
    measure_every: int,
    with_kept: Callable[[], AbstractContextManager[None]],
) -> Generator[Step, None, None]:
    metric, seconds = math.nan, 0.0
    advance.model.eval()
    try:
        for index in range(1, steps + 1):
            started = perf_counter()
            with with_kept():
                loss = advance(next(batches), index)
                measured = index in (1, steps) or index % measure_every == 0
                if measured:
                    metric = measure()
            seconds += perf_counter() - started
            yield Step(index, loss, metric, seconds, measured)
    finally:
        advance.model.eval()
        advance.update.zero_grad()


@dataclass(frozen=True)
class _Advance:
    """One step of training; `randomness` is None for a model that draws no random numbers."""

    model: nn.Module
    update: torch.optim.Optimizer
    mode: TrainMode
    randomness: Randomness | None

    def __call__(self, batch: dict[str, Tensor], index: int) -> float:
        """Update the weights on `batch` and return its loss before the update."""
        with self.mode, self.randomness.drawn_from() if self.randomness else nullcontext():
            self.update.zero_grad()
            loss = self.model(**batch).loss
            value = float(loss.item())
            if not math.isfinite(value):
                raise self._refusal(f"the loss of step {index} is {value}", index)
            loss.backward()
            if broken := self._broken():
                raise self._refusal(f"the gradient of step {index} is not finite, in {broken} first", index)
            self.update.step()
        return value

    def _broken(self) -> str:
        """The name of the first parameter whose gradient is not finite, "" where all are.

        One number for all gradients is quick, and finite only if they are; that it is not may be its own overflow.
        """
        gradients = [p.grad for group in self.update.param_groups for p in group["params"] if p.grad is not None]
        if not gradients or math.isfinite(torch.stack(torch._foreach_norm(gradients)).sum().item()):
            return ""
        named = ((name, p.grad) for name, p in self.model.named_parameters() if p.grad is not None)
        return next((name for name, gradient in named if not gradient.isfinite().all()), "")

    def _refusal(self, what: str, index: int) -> FloatingPointError:
        lr = self.update.param_groups[0]["lr"]
        return FloatingPointError(f"{what}; the weights are those after step {index - 1}: try a smaller `lr` (={lr:g})")


def batches(part: Part, batch_size: int, seed: int) -> Iterator[dict[str, Tensor]]:
    """Batches for ever: the part in a new order each time through; one of each time may be smaller.

    Texts of about one length, of those that the order brings near each other, share a batch: there is less to fill up.
    """
    generator = torch.Generator().manual_seed(seed)
    lengths = None if part.lengths is None else part.lengths.cpu()
    while True:
        order = torch.randperm(len(part), generator=generator)
        pieces = list(order.split(batch_size))
        if lengths is not None:
            near = (pool[lengths[pool].argsort(stable=True)] for pool in order.split(POOLED * batch_size))
            sorted_pieces = [piece for pool in near for piece in pool.split(batch_size)]
            pieces = [sorted_pieces[n] for n in torch.randperm(len(sorted_pieces), generator=generator).tolist()]
        for index in pieces:
            yield part.rows(index)


def _check_numbers(steps: int, lr: float, seed: int, batch_size: int, weight_decay: float, eval_every: int) -> None:
    counts = {"steps": steps, "batch_size": batch_size, "eval_every": eval_every}
    for name, count in counts.items():
        if not _is(count, Integral) or count < 1:
            raise ValueError(f"`{name}` (={count!r}) must be a positive integer")
    check_seed(seed)
    if not _is(lr, Real) or not 0 < lr < math.inf:
        raise ValueError(f"`lr` (={lr!r}) must be a positive finite number")
    if not _is(weight_decay, Real) or not 0 <= weight_decay < math.inf:
        raise ValueError(f"`weight_decay` (={weight_decay!r}) must be a finite number, 0 or above")


def _as_number(measured: object) -> float:
    """What a metric returned; its curve is drawn, so it has to be a number."""
    value = (
        measured.item() if isinstance(measured, Tensor | np.ndarray | np.generic) and measured.ndim == 0 else measured
    )
    if not isinstance(value, Real):
        raise ValueError(
            f"`metric` must return a number, and returned {reprlib.repr(measured)}, a {type(measured).__name__}"
        )
    return float(value)


def _is(value: object, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def check_task(model: nn.Module, task: Task) -> None:
    """Whether a model can learn a task, which a forward pass on two examples tells; where it can, nothing happens.

    Args:
        model: left as it is, and so are random numbers.
        task: what it is to learn.

    Raises:
        ValueError: where it cannot.
    """
    check_kind("model", model, nn.Module, A_MODEL)
    _check_task(model, task)
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        _try_out(model, task, task.train.to(device), TrainMode(model))


def _check_task(model: nn.Module, task: Task) -> None:
    check_kind("task", task, Task, A_TASK)
    for name in ("train", "validation"):
        if len(getattr(task, name)) == 0:
            raise ValueError(f"`task` (={task.name!r}) must have examples; its {name} part is empty")
    check_fits(model, task)


def _try_out(model: nn.Module, task: Task, train: Part, mode: TrainMode) -> None:
    """One forward pass in train mode on two examples; ValueError where the task does not fit the model."""
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        with eval_mode(model), mode, torch.no_grad():
            answer = model(**train.rows(slice(0, 2)))
    except (IndexError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"`task` (={task.name!r}) does not fit the model: {error}") from error
    finally:
        for buffer, before in buffers:  # a running mean must not count these two examples twice
            buffer.copy_(before)
    if not isinstance(getattr(answer, "loss", None), Tensor):
        raise ValueError(f"`model` must return an object with a `loss`, given {', '.join(train.inputs)}")
    logits, labels = getattr(answer, "logits", None), train.labels[:2]
    if isinstance(logits, Tensor) and logits.shape[:-1] != labels.shape:
        raise ValueError(
            f"`task` (={task.name!r}) does not fit the model: its labels are {tuple(labels.shape)}, "
            f"and what the model answers is {tuple(logits.shape)}"
        )
