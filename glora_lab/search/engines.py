"""How a setting is scored: by shared weights, by these and ten steps more, by real short training, as in the paper.

An engine prepares itself, which may take hundreds of steps and can be watched, and then gives each choice a score on
the validation part. Shared weights were measured here before they were built in (digits-turned, 23 settings trained for
real): drawn uniformly as in the paper they order settings with Kendall's τ .44 to .48, below the .56 of counting
parameters; the largest network first, then the largest, the smallest and a random one in each step, .59; ten steps of
each setting's own from there, .69; those were paths of each layer. Of ranks of kinds of layers, 24 settings from small
to large, there is less to know: counting has τ .78 (digits-turned) and .84 (text-capitals), training with another seed
.74 and .91, and the engines .76 to .79 by accuracy; a quarter of the training, by loss, .83 and .75 (`bench-search`).
Whether an engine can be believed for a model and a task is asked anew each time, see gate.py.
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

BATCH, BATCH_OF_TEXT = 32, 8  # of text that is written on, every token is an answer: fewer examples say as much


def batch_of(task: Task) -> int:
    """How many examples a step of training takes."""
    return BATCH_OF_TEXT if task.writes else BATCH


class Engine:
    """Scores choices of `space` for `model` on the validation part of `task`."""

    name: ClassVar[str]

    def __init__(self, model: nn.Module, task: Task, space: SearchSpace, *, seed: int, lr: float, steps: int) -> None:
        self.model, self.task, self.space = model, task, space
        self.seed, self.lr, self.steps = seed, lr, steps
        self.batch = batch_of(task)

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
        drawn = batches(self.task.train, self.batch, self.seed)
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
        _train(self.net.model, self, self.more, self.seed)
        return score(self.net.model, self.task.validation)


class Trained(Engine):
    """Each setting built and trained for real, with all its steps: what the others are judged by."""

    name = "trained"

    def score(self, choice: Choice) -> Score:
        return score(trained(self.space, choice, self), self.task.validation)


class Short(Engine):
    """Trained for real, by successive halving: the worse half ends at an eighth of the steps, a quarter, a half.

    Worse is by loss, which orders settings long before accuracy does: of 24 settings of ranks, after ten steps of 100,
    with τ .73 and .26 (digits-transposed-inverted). And it is worse of its size, up to twice the parameters: the small
    ones are all behind at first, and would leave a front of large ones.
    """

    name = "short"
    parts = (8, 4, 2)  # of the steps

    def __init__(self, *args: Any, **numbers: Any) -> None:
        super().__init__(*args, **numbers)
        self._rungs: dict[int, Any] = {}  # by the digits that a count has in binary: up to twice as many
        self._looks = {max(1, self.steps // part) for part in self.parts} | {self.steps}

    def rungs(self, choice: Choice) -> Any:
        """The study that halves the settings of this one's size."""
        import optuna

        size = self.space.params(choice).bit_length()
        if size not in self._rungs:
            with quiet(optuna):
                pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=min(self._looks), reduction_factor=2)
                self._rungs[size] = optuna.create_study(direction="minimize", pruner=pruner)
        return self._rungs[size]

    def score(self, choice: Choice) -> Score:
        import optuna

        got, rungs = Score(math.nan, math.nan), self.rungs(choice)
        trial, built = rungs.ask(), fresh(self.model, self.space, choice, self.seed)
        for step in _steps(built, self, self.steps, self.seed):
            if step.index in self._looks:
                got = score(built, self.task.validation)
                trial.report(got.loss, step.index)
                if step.index < self.steps and trial.should_prune():
                    rungs.tell(trial, state=optuna.trial.TrialState.PRUNED)
                    return got
        rungs.tell(trial, got.loss)
        return got


ENGINES: Mapping[str, type[Engine]] = MappingProxyType(
    {engine.name: engine for engine in (Inherited, Adapted, Short, Paper)}
)


def fresh(model: nn.Module, space: SearchSpace, choice: Choice, seed: int) -> nn.Module:
    """An adapter built for this choice."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return get_peft_model(copy.deepcopy(model), space.config(choice))


def trained(space: SearchSpace, choice: Choice, how: Engine, seed: int | None = None) -> nn.Module:
    """The same, trained for real, by the engine's numbers; the space may be another than the engine's own."""
    seed = how.seed if seed is None else seed
    built = fresh(how.model, space, choice, seed)
    _train(built, how, how.steps, seed)
    return built


def random_choice(space: SearchSpace, draw: random.Random) -> Choice:
    """Uniform over the settings that can be trained."""
    while True:
        choice = tuple(draw.randrange(len(slot.options)) for slot in space.slots)
        if space.fits(choice):
            return choice


def _steps(model: nn.Module, how: Engine, steps: int, seed: int) -> Iterator[Step]:
    """Training that does not look at how far it is."""
    numbers: Any = {"steps": steps, "lr": how.lr, "seed": seed, "batch_size": how.batch, "eval_every": steps}
    return fit(model, how.task, metric=lambda *_: math.nan, **numbers)


def _train(model: nn.Module, how: Engine, steps: int, seed: int) -> None:
    for _ in _steps(model, how, steps, seed):
        pass
