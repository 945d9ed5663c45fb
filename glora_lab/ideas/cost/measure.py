"""What a method costs besides parameters: a step of training on the caller's own model, counted and timed.

Decisions. The step is forward, loss and backward in training mode, dropout included, without the optimiser's update.
The frozen base has nothing to go back to: its step is the forward pass. Every method works on a twin of the model,
which shares its weights, so the model cannot be changed, and no memory is taken for weights. Bytes kept for
backward leave out parameters, which are there anyway. Counting runs once with a fixed seed; only time is measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from numbers import Integral
from statistics import median
from time import perf_counter
from typing import Any

import torch
from peft import PeftConfig, PeftModel
from torch import Tensor, nn

from glora_lab.adapters.base.frozen import SUPPORTED
from glora_lab.adapters.view import adapted_layers
from glora_lab.anatomy.batch import Batch, Loss, loss_of

from .measure_counters import count_saved, count_work
from .measure_methods import (
    ALL_LINEAR,
    FULL,
    Method,
    Targets,
    checkpoint_bytes,
    default_methods,
    kind_of,
    trainable_models,
)
from .measure_twin import twin
from .record import Cost, CostReport

RANK = 8  # of the default methods
SEED = 0  # of what is counted: a draw may decide which way a model goes


def cost_report(
    model: nn.Module,
    batch: Batch,
    methods: Mapping[str, Method] | None = None,
    *,
    target_modules: Targets | None = None,
    r: int | None = None,
    loss: Loss | None = None,
    repeats: int = 5,
) -> CostReport:
    """What one step of training costs with each method, side by side, on the caller's model.

    Args:
        model: a model without adapters, of transformers or any `nn.Module`, on any one device. It is left as it was.
        batch: the model's keyword arguments as a dict, the loss being its output's, or a tuple (inputs, targets).
        methods: name → PEFT configuration, None for the frozen base, "full" for full fine-tuning of the layers that
            the configurations adapt. By default the frozen base, LoRA, our GLoRA and GraLoRA (k = 2), PEFT's own two,
            and full fine-tuning; those of them that do not fit the model are named in `left_out`.
        target_modules: what the default methods adapt, as in PEFT; "all-linear" if not given.
        r: the default methods' rank; 8 if not given.
        loss: `loss(outputs, targets)` for a tuple; mean squared error by default.
        repeats: how many steps are timed, in turns: each method once, then each once more.

    Returns:
        One `Cost` per method.
        `flops`: of products of matrices, convolutions and attention, 2 per multiply and add, forward and backward, by
        torch's formulas (a causal mask counts in full, an operation without a formula, such as a quantised product, 0).
        `elementwise`: floating-point values that pointwise operations write (W0⊙A, GELU, additions, copies; sums, norms
        and softmax are in neither). `saved_bytes`: distinct storages that autograd keeps from forward to backward,
        parameters and buffers of the model left out; of gradient checkpointing, its inputs (what it computes again is
        in `flops`). `checkpoint_bytes`: the tensors that `save_pretrained` writes, without the file's header and whole
        embeddings. `milliseconds`: the median step.

        While it runs, memory holds the adapters of all methods, and what one method's step takes at a time.

    Raises:
        ValueError: where an argument cannot work, the model carries an adapter already, or the batch does not fit.
    """
    _check(model, methods, target_modules, r, repeats)
    left_out: dict[str, str] = {}
    devices = sorted({p.device.index for p in model.parameters() if p.is_cuda})
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=devices))
        stack.enter_context(torch.inference_mode(False))  # which brings gradients back under no_grad as well
        _seed(devices)
        base = twin(model)
        if isinstance(base, SUPPORTED):
            base = nn.Sequential(base)  # PEFT replaces layers in what holds them
        loss_of(twin(base).train(), batch, loss)  # a batch that does not fit is no method's fault
        if methods is None:
            methods, left_out = default_methods(base, target_modules or ALL_LINEAR, RANK if r is None else r)
        steps = {name: _Step(m, batch, loss, devices) for name, m in trainable_models(base, methods).items()}
        counts = {name: step.count() for name, step in steps.items()}
        seconds = _timed(steps, repeats)
    config = getattr(model, "config", None)
    return CostReport(
        rows=tuple(
            Cost(name, kind_of(methods[name]), **count, milliseconds=1000 * median(seconds[name]))
            for name, count in counts.items()
        ),
        model=getattr(config, "name_or_path", "") or type(model).__name__,
        device=torch.cuda.get_device_name(devices[0]) if devices else next(model.parameters()).device.type,
        threads=torch.get_num_threads(),
        repeats=repeats,
        left_out=left_out,
    )


@dataclass(frozen=True)
class _Step:
    """One step of training of one method: forward, loss and backward; forward alone where nothing is trained."""

    model: nn.Module
    batch: Batch
    loss: Loss | None
    devices: Sequence[int]

    def __call__(self) -> None:
        self._backward(self._forward())

    def count(self) -> dict[str, int]:
        """All that is exact of a `Cost`; each of the two passes starts from the same seed."""
        _seed(self.devices)
        flops, elementwise = count_work(self)
        self.model.zero_grad()
        _seed(self.devices)
        value, saved = count_saved(self.model, self._forward)
        self._backward(value)
        self.model.zero_grad()
        return {
            "flops": flops,
            "elementwise": elementwise,
            "saved_bytes": saved,
            "params": sum(p.numel() for p in self.model.parameters() if p.requires_grad),
            "checkpoint_bytes": checkpoint_bytes(self.model),
        }

    def seconds(self) -> float:
        self._wait()
        started = perf_counter()
        self()
        self._wait()
        took = perf_counter() - started
        self.model.zero_grad()
        return took

    def _forward(self) -> Tensor:
        return loss_of(self.model, self.batch, self.loss)

    def _backward(self, value: Tensor) -> None:
        if value.requires_grad:
            value.backward()

    def _wait(self) -> None:
        """A GPU takes orders and works on while we look at the clock."""
        for device in self.devices:
            torch.cuda.synchronize(device)


def _seed(devices: Sequence[int]) -> None:
    """The streams that the step draws from and no other; `torch.manual_seed` would restart those of every GPU."""
    torch.default_generator.manual_seed(SEED)
    for device in devices:
        torch.cuda.default_generators[device].manual_seed(SEED)


def _timed(steps: Mapping[str, _Step], repeats: int) -> dict[str, list[float]]:
    """Seconds per method, in rounds: what slows the machine down for a while slows down all of them.

    Each round begins with another method, so that none always follows the same one's caches.
    """
    names = list(steps)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for n in range(repeats):
        first = n % len(names)
        for name in names[first:] + names[:first]:
            seconds[name].append(steps[name].seconds())
    return seconds


def _check(model: Any, methods: Any, target_modules: Any, r: Any, repeats: Any) -> None:
    what = f"`model` (a {type(model).__name__})"
    if not isinstance(model, nn.Module) or not [*model.parameters()]:
        raise ValueError(f"{what} must be a module with parameters")
    if any(p.is_meta for p in model.parameters()):
        raise ValueError(f"{what} must have weights, and is on the meta device")
    if isinstance(model, PeftModel) or adapted_layers(model):
        raise ValueError(
            f"{what} must carry no adapter; give the model without it, and its configuration as one of `methods`"
        )
    for name, count in {"repeats": repeats, **({} if r is None else {"r": r})}.items():
        if isinstance(count, bool) or not isinstance(count, Integral) or count < 1:
            raise ValueError(f"`{name}` (={count!r}) must be a positive integer")
    if methods is not None:
        _check_methods(methods)
        for name, value in {"target_modules": target_modules, "r": r}.items():
            if value is not None:
                raise ValueError(f"`{name}` (={value!r}) must be left to `methods`, which say it themselves")


def _check_methods(methods: Any) -> None:
    if not isinstance(methods, Mapping) or not methods:
        raise ValueError(f"`methods` (={methods!r}) must be a dict of at least one name → PEFT configuration")
    for name, method in methods.items():
        if not isinstance(name, str):
            raise ValueError(f"`methods` (={list(methods)}) must have names for keys")
        if not (method is None or method == FULL or isinstance(method, PeftConfig)):
            raise ValueError(f"`methods[{name!r}]` (={method!r}) must be a PEFT configuration, None or {FULL!r}")
