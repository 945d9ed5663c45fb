"""One run: an arm trained for as many steps as every other, and asked about the validation and the test part."""

from __future__ import annotations

import math
import time
from functools import lru_cache
from typing import Any

import torch
from peft import PeftConfig
from torch import nn

from glora_lab.data import Task, load_task
from glora_lab.ideas.real.record import RealRun
from glora_lab.models import load_model
from glora_lab.training.evaluate import evaluate
from glora_lab.training.loop import fit

from .arms import adapted, trained_params

MODEL, TASK, CLASSES = "minilm", "docstrings-swapped", 2
STEPS, BATCH = 100, 16


def device() -> str:
    """A GPU where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


@lru_cache(maxsize=1)
def real_model() -> nn.Module:
    """minilm with a head for two classes, on the processor; it is left as it is."""
    return load_model(MODEL, num_labels=CLASSES)


def task_of(seed: int) -> Task:
    """Each seed deals the texts out anew, so that its spread has the texts' share in it."""
    return load_task(TASK, seed=seed)


def trained_model(
    arm: str, budget: int, lr: float, seed: int, *, found: PeftConfig | None = None, base: nn.Module | None = None,
    task: Task | None = None, steps: int = STEPS,
) -> nn.Module:  # fmt: skip
    """The arm's model after `steps` steps of AdamW at a constant rate, batches of 16 texts of like length.

    Raises:
        FloatingPointError: where the rate is too large to go on.
    """
    model = adapted(real_model() if base is None else base, arm, budget, seed, found).to(device())
    numbers: Any = {"steps": steps, "lr": lr, "seed": seed, "batch_size": BATCH, "eval_every": steps}
    for _ in fit(model, task or task_of(seed), metric=lambda *_: math.nan, keep_frozen=True, **numbers):
        pass
    return model


def run(
    arm: str, budget: int, lr: float, seed: int, *, found: PeftConfig | None = None, base: nn.Module | None = None,
    task: Task | None = None, steps: int = STEPS, validated: bool = True,
) -> RealRun:  # fmt: skip
    """Train and ask; `base` and `task` stand in for minilm and its texts.

    A run that met a number that is not finite has nan for both shares, and one that is not `validated` for one.
    """
    started, task = time.process_time(), task or task_of(seed)
    params = trained_params(adapted(real_model() if base is None else base, arm, budget, seed, found))
    try:
        model = trained_model(arm, budget, lr, seed, found=found, base=base, task=task, steps=steps)
        shares = evaluate(model, task.validation) if validated else math.nan, evaluate(model, task.test)
    except FloatingPointError:
        shares = math.nan, math.nan
    return RealRun(arm, budget, params, lr, seed, *shares, round(time.process_time() - started, 1))
