"""How a setting is scored: by shared weights, by these and ten steps more, by real short training, as in the paper.

An engine prepares itself, which may take hundreds of steps and can be watched, and then gives each choice a score on
the validation part. Shared weights were measured here before they were built in (digits-turned, 23 settings trained for
real): drawn uniformly as in the paper they order settings with Kendall's τ .44 to .48, below the .56 of counting
parameters; the largest network first, then the largest, the smallest and a random one in each step, .59; ten steps of
each setting's own from there, .69. Whether that holds for a model and a task is asked anew each time, see gate.py.
"""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from peft import get_peft_model
from torch import nn

from glora_lab.data import Task
from glora_lab.ideas.training.record import Step
from glora_lab.training.loop import batches, fit
from glora_lab.training.mode import TrainMode

from .proposals import quiet
from .score import Score, score
from .space import Choice, SearchSpace
from .supernet import Supernet

BATCH = 32


class Engine:
    """Scores choices of `space` for `model` on the validation part of `task`."""

    name: ClassVar[str]

    def __init__(self, model: nn.Module, task: Task, space: SearchSpace, *, seed: int, lr: float, steps: int) -> None:
        self.model, self.task, self.space = model, task, space
        self.seed, self.lr, self.steps = seed, lr, steps

    @property
    def total(self) -> int:
        """How many steps preparing takes."""
        return 0

    def prepare(self) -> Iterator[float]:
        """The loss of each step."""
        yield from ()

    def score(self, choice: Choice) -> Score:
        raise NotImplementedError


class Inherited(Engine):
    """A supernet: first the largest network alone, then the largest, the smallest and random ones in each step."""

    name = "inherited"
    first, then = 80, 220

    @property
    def total(self) -> int:
        return self.first + self.then

    def prepare(self) -> Iterator[float]:
        self.net = Supernet(self.model, self.space, seed=self.seed)
        self._draw = random.Random(self.seed)
        shared = list(self.net.shared.values())
        update = torch.optim.AdamW(shared, lr=self.lr, weight_decay=0.0)
        mode = TrainMode(self.net.model)
        drawn = batches(self.task.train, BATCH, self.seed)
        for step in range(self.total):
            update.zero_grad()
            losses, batch = [], next(drawn)
            with mode:
                for choice in self._trained_at(step):
                    self.net.choose(choice)
                    out = self.net.model(**batch).loss
                    out.backward()
                    losses.append(out.item())
            if not math.isfinite(sum(losses)):
                raise FloatingPointError(
                    f"the losses of the supernet's step {step + 1} are {losses}: try a smaller `lr` (={self.lr:g})"
                )
            update.step()
            yield losses[-1]

    def _trained_at(self, step: int) -> list[Choice]:
        if step < self.first:
            return [self.space.largest]
        return [self.space.largest, self.space.smallest, self._any()]

    def _any(self) -> Choice:
        """A random choice that can be trained."""
        return random_choice(self.space, self._draw)

    def score(self, choice: Choice) -> Score:
        self.net.choose(choice)
        return score(self.net.model, self.task.validation)


class Paper(Inherited):
    """As in the paper and the authors' code: one uniform draw in each step, AdamW at 1e-4 there."""

    name = "paper"
    first, then = 0, 400

    def _trained_at(self, step: int) -> list[Choice]:
        return [self._any()]


class Adapted(Inherited):
    """The supernet's weights, and ten steps of each setting's own from there."""

    name = "adapted"
    more = 10

    def score(self, choice: Choice) -> Score:
        self.net.choose_copy(choice)
        _train(self.net.model, self.task, steps=self.more, lr=self.lr, seed=self.seed)
        return score(self.net.model, self.task.validation)


class Trained(Engine):
    """Each setting built and trained for real, with all its steps: what the others are judged by."""

    name = "trained"

    def score(self, choice: Choice) -> Score:
        return score(trained(self.model, self.task, self.space, choice, self), self.task.validation)


class Short(Engine):
    """Trained for real, by successive halving: at a quarter and a half of the steps the worse half ends there."""

    name = "short"

    def __init__(self, *args: Any, **numbers: Any) -> None:
        super().__init__(*args, **numbers)
        import optuna

        with quiet(optuna):
            rungs = optuna.pruners.SuccessiveHalvingPruner(min_resource=max(1, self.steps // 4), reduction_factor=2)
            self._rungs = optuna.create_study(direction="maximize", pruner=rungs)

    def score(self, choice: Choice) -> Score:
        import optuna

        got, trial = Score(math.nan, math.nan), self._rungs.ask()
        built = fresh(self.model, self.space, choice, self.seed)
        looks = {max(1, self.steps // 4), max(1, self.steps // 2), self.steps}
        for step in _steps(built, self.task, steps=self.steps, lr=self.lr, seed=self.seed):
            if step.index in looks:
                got = score(built, self.task.validation)
                trial.report(got.metric, step.index)
                if step.index < self.steps and trial.should_prune():
                    self._rungs.tell(trial, state=optuna.trial.TrialState.PRUNED)
                    return got
        self._rungs.tell(trial, got.metric)
        return got


ENGINES: Mapping[str, type[Engine]] = MappingProxyType(
    {engine.name: engine for engine in (Inherited, Adapted, Short, Paper)}
)


def fresh(model: nn.Module, space: SearchSpace, choice: Choice, seed: int) -> nn.Module:
    """An adapter built for this choice."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return get_peft_model(copy.deepcopy(model), space.config(choice))


def trained(
    model: nn.Module, task: Task, space: SearchSpace, choice: Choice, how: Engine, seed: int | None = None
) -> nn.Module:
    """The same, trained for real, by the engine's numbers."""
    seed = how.seed if seed is None else seed
    built = fresh(model, space, choice, seed)
    _train(built, task, steps=how.steps, lr=how.lr, seed=seed)
    return built


def random_choice(space: SearchSpace, draw: random.Random) -> Choice:
    """Uniform over the settings that can be trained."""
    while True:
        choice = tuple(draw.randrange(len(slot.options)) for slot in space.slots)
        if space.fits(choice):
            return choice


def _steps(model: nn.Module, task: Task, *, steps: int, lr: float, seed: int) -> Iterator[Step]:
    """Training that does not look at how far it is."""
    return fit(model, task, steps=steps, lr=lr, seed=seed, eval_every=steps, metric=lambda *_: math.nan)


def _train(model: nn.Module, task: Task, *, steps: int, lr: float, seed: int) -> None:
    for _ in _steps(model, task, steps=steps, lr=lr, seed=seed):
        pass
