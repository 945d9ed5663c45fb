"""What a training run is made of: a method with its settings, and, for every method alike, task, rate, steps, seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from glora_lab.adapters import DeltaConfig
from glora_lab.arguments import check_choice, check_positive_int, check_positive_number, refuse
from glora_lab.data import Task
from glora_lab.page.controls.modes import PRESETS
from glora_lab.page.controls.widgets import WIDE, BoundedIntText, FloatLogSlider

from .panel_methods import METHODS, OWN, MethodControls
from .panel_task import TaskChoice

RATE = "How far a step goes along the gradient."
STEPS = "How many batches a run trains on."
SEED = "Draws the first values of the adapter and the order of the batches; the same seed gives the same run."


class TrainControls:
    """The controls of a run: `shown`, those of its method, and `folded`, the rest.

    `on_method` is called when a setting of the method changes, `on_task` when the task does. `methods` holds what is
    each method's own; its preset, modes and rank are here as well.
    """

    def __init__(
        self,
        base: nn.Module,
        on_method: Callable[[], None],
        on_task: Callable[[], None],
        *,
        own: Mapping[str, DeltaConfig],
        task: str | Task | None,
        lr: float,
        steps: int,
        seed: int,
        **of_method: Any,
    ) -> None:
        _check(own, lr=lr, steps=steps, seed=seed, **of_method)
        self.task = TaskChoice(base, task)
        self.methods = MethodControls(base, on_method, own=own, **of_method)
        self.preset, self.modes, self.rank = self.methods.preset, self.methods.modes, self.methods.rank
        lowest, highest = min(-4, math.floor(math.log10(lr))), max(-1, math.ceil(math.log10(lr)))
        self.lr = FloatLogSlider(
            lr,
            min=lowest,
            max=highest,
            step=0.125,
            description="learning rate",
            says=RATE,
            readout_format=".2g",
            style=WIDE,
        )
        self.lr.continuous_update = False
        narrow = {"width": "160px"}
        most = max(10_000, steps)
        self.steps = BoundedIntText(steps, min=1, max=most, description="steps", says=STEPS, layout=narrow)
        self.seed = BoundedIntText(seed, min=0, max=2**31 - 1, description="seed", says=SEED, layout=narrow)
        self.shown, self.folded = self.methods.shown, [self.task, self.modes, self.lr, self.steps, self.seed]
        self.task.observe(lambda _: on_task(), "value")

    def settings(self) -> dict[str, Any]:
        """Name → control; what sets others comes first."""
        own = self.methods
        method = {"method": own.method, "rank": own.rank, "preset": own.preset, **own.modes.buttons}
        blocks = {"k": own.k, "hybrid_r": own.hybrid, "alpha": own.alpha}
        return {"task": self.task, **method, **blocks, "lr": self.lr, "steps": self.steps, "seed": self.seed}

    def chosen_task(self) -> Task:
        return self.task.chosen()

    @property
    def run_name(self) -> str:
        return self.methods.run_name

    @property
    def numbers(self) -> dict[str, float]:
        """What `fit` takes beside model and task."""
        return {"steps": self.steps.value, "lr": self.lr.value, "seed": self.seed.value}


def _check(
    own: Mapping[str, DeltaConfig],
    *,
    method: str,
    preset: str,
    rank: int,
    k: int,
    lr: float,
    steps: int,
    seed: int,
) -> None:
    """A control would clamp what it cannot show, without a word."""
    for name, config in own.items():
        if not isinstance(name, str) or not name or name in METHODS or not isinstance(config, DeltaConfig):
            rule = f"must be a dict from a name of your own (not {', '.join(METHODS)}) to YourMethod.config()"
            raise refuse("methods", {name: config}, rule)
    check_choice("method", method, (*METHODS, *own))
    check_choice("preset", preset, [OWN, *PRESETS])
    check_positive_int("rank", rank)
    check_positive_int("k", k)
    check_positive_number("lr", lr)
    check_positive_int("steps", steps)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**31:
        raise refuse("seed", seed, "must be an integer from 0 to 2**31 - 1")
