"""A search: settings are proposed, scored one by one, and the best are trained anew before anything is claimed.

    study = search_paths(model, task, SearchSpace.of(model), limit=20_000, seed=0)
    for trial in study: ...
    study.front; study.best(limit=8_000).config; study.verify(seeds=3)

Before the first trial the engine is prepared and put to the test (the gate): settings drawn at random are trained for
real, and where the engine orders them no better than their parameter counts do, real short training takes its place.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any, NamedTuple

from torch import nn

from glora_lab.arguments import check_choice, check_count, check_positive_int, check_positive_number, refuse
from glora_lab.data import Task
from glora_lab.ideas.search.record import Agreement, Importance, PathMap, SearchResult, Trial, Verified, front

from .engines import ENGINES, Engine, Short, Trained, random_choice, trained
from .gate import agreement
from .proposals import Proposals
from .score import Score, score
from .space import Choice, SearchSpace

FINALISTS = 4


class Progress(NamedTuple):
    """One piece of work that is no trial: what it is part of, and how much of that is done."""

    stage: str  # "preparing", "gate"
    done: int
    total: int


def search_paths(
    model: nn.Module,
    task: Task,
    space: SearchSpace,
    *,
    objectives: Sequence[str] = ("accuracy", "parameters"),
    limit: int | None = None,
    trials: int = 200,
    engine: str = "adapted",
    gate: int = 12,
    sampler: str = "nsga2",
    steps: int = 100,
    lr: float = 5e-3,
    seed: int = 0,
) -> Study:
    """Look for the settings of `space` that `model` learns `task` best with; nothing runs before the study is asked.

    Args:
        model: the model, which is left as it is.
        task: what it is to learn. Settings are scored on its validation part; the test part is read by `verify` alone.
        objectives: what a good setting has, of "accuracy", "loss" and "parameters".
        limit: the most parameters that a setting may have.
        trials: how many settings are looked at; fewer where the space has no more.
        engine: how one is scored: "inherited", "adapted", "short" or "paper", see engines.py.
        gate: how many random settings are trained for real to judge the engine by; 0 believes it.
        sampler: Optuna's "nsga2", "tpe" or "random".
        steps: steps of real training, of the gate and of `verify`; engine "short" takes up to so many.
        lr: learning rate of all training, AdamW with batches of 32.
        seed: the same gives the same study, on the same machine and in the same process.

    Returns:
        A `Study`: an iterator of `Trial` records.

    Raises:
        ValueError: naming the argument, before anything starts; for a `limit` that no setting meets it names the
            parameters of the smallest.
        ImportError: without Optuna.
    """
    check_choice("engine", engine, tuple(ENGINES))
    for name, number in {"trials": trials, "steps": steps}.items():
        check_positive_int(name, number)
    check_count("gate", gate)
    if gate == 1:
        raise refuse("gate", gate, "must be 0, or 2 settings or more: one has no order")
    check_count("seed", seed)
    check_positive_number("lr", lr)
    if not isinstance(space, SearchSpace):
        raise refuse("space", type(space).__name__, "must be a SearchSpace: SearchSpace.of(model)")
    space.check_limit(limit)
    proposals = Proposals(space, sampler=sampler, seed=seed, objectives=objectives, limit=limit)
    scorer = ENGINES[engine](model, task, space, seed=seed, lr=lr, steps=steps)
    return Study(scorer, proposals, trials=trials, gate=gate)


class Study:
    """The trials of a search, as an iterator that goes on where it was left, and what they come to.

    `trials` are those so far, `agreement` what the gate found (None before it, and for an engine that trains for
    real). `engine` is the name of the one that scores, `said` a sentence where another took its place.
    """

    def __init__(self, engine: Engine, proposals: Proposals, *, trials: int, gate: int) -> None:
        self.space, self.limit = engine.space, proposals.limit
        self.agreement: Agreement | None = None
        self.verified: tuple[Verified, ...] = ()
        self.said = ""
        self._engine, self._proposals = engine, proposals
        self._most, self._gate = trials, gate
        self._trials: list[Trial] = []
        self._work = self._run()

    @property
    def trials(self) -> tuple[Trial, ...]:
        return tuple(self._trials)

    @property
    def total(self) -> int:
        """How many trials there will be, if the space has so many."""
        return self._most

    @property
    def work(self) -> int:
        """How many pieces of work that is at most, with those on the way to the first trial."""
        return self._engine.total + self._gate + self._most

    @property
    def engine(self) -> str:
        return self._engine.name

    def __iter__(self) -> Iterator[Trial]:
        for event in self._work:
            if isinstance(event, Trial):
                yield event

    def advance(self) -> Trial | Progress | None:
        """The next piece of work, of tenths of a second: a trial, or a step towards the first. None at the end."""
        return next(self._work, None)

    @property
    def front(self) -> tuple[Trial, ...]:
        """The trials that no other beats, by rising parameters; with a test accuracy where they have been verified."""
        tests = {record.number: sum(record.test) / len(record.test) for record in self.verified}
        return tuple(replace(trial, test=tests.get(trial.number, trial.test)) for trial in front(self._trials))

    @property
    def result(self) -> SearchResult:
        """The search as it stands, for `plot_search`."""
        return SearchResult(self.trials, self.limit, self.agreement, self.verified)

    def path_map(self, trial: Trial) -> PathMap:
        """Where the parameters of a trial are, for `plot_path_map`."""
        return self.space.path_map(self.space.read(trial.choice))

    def importance(self, objective: str = "accuracy") -> Importance:
        """What each choice is worth, by the trials so far, for `plot_importance`.

        Raises:
            ValueError: for what was no objective of this search, and with fewer than two trials.
        """
        return self._proposals.importance(objective)

    def best(self, limit: int | None = None) -> Trial:
        """The most accurate trial with at most `limit` parameters; of equals the smallest.

        Raises:
            ValueError: where no trial has so few.
        """
        if limit is not None:
            check_positive_int("limit", limit)
        fitting = [trial for trial in self.front if limit is None or trial.params <= limit]
        if not fitting:
            least = min((trial.params for trial in self._trials), default=None)
            has = "this study has no trial yet" if least is None else f"the smallest trial has {least:,} parameters"
            raise refuse("limit", limit, f"leaves none: {has}")
        return fitting[-1]

    def verify(self, seeds: int = 3) -> tuple[Verified, ...]:
        """Train the finalists anew, and LoRA of as many parameters, each with `seeds` seeds, and read the test part.

        Finalists are up to four of the front, evenly from the smallest to the largest.
        """
        check_positive_int("seeds", seeds)
        ends = self.front
        places = sorted({round(i * (len(ends) - 1) / max(1, FINALISTS - 1)) for i in range(FINALISTS)}) if ends else []
        self.verified = tuple(self._verify(ends[place], seeds) for place in places)
        return self.verified

    @property
    def optimism(self) -> float:
        """By how much validation accuracy is above test accuracy for the finalists trained anew, in the mean.

        Raises:
            ValueError: before `verify`.
        """
        if not self.verified:
            raise ValueError("`optimism` needs finalists that were trained anew: call verify() first")
        gaps = [v - t for one in self.verified for v, t in zip(one.validation, one.test, strict=True)]
        return sum(gaps) / len(gaps)

    def _run(self) -> Generator[Trial | Progress, None, None]:
        yield from self._prepare()
        if self._gate and self._engine.name != Short.name:
            yield from self._put_to_the_test()
        for name, choice in self.space.anchors().items():
            if len(self._trials) < self._most and (self.limit is None or self.space.params(choice) <= self.limit):
                yield self._try(choice, name)
        while len(self._trials) < self._most and (proposed := self._proposals.ask()) is not None:
            yield self._try(proposed)

    def _prepare(self) -> Iterator[Progress]:
        for done, _ in enumerate(self._engine.prepare(), 1):
            yield Progress("preparing", done, self._engine.total)

    def _put_to_the_test(self) -> Iterator[Progress]:
        """Where the engine orders no better than counting does, real training takes its place, and it is said."""
        draw, asked = random.Random(self._engine.seed + 1), self._engine
        choices = [random_choice(self.space, draw) for _ in range(self._gate)]
        numbers: Any = {"seed": asked.seed, "lr": asked.lr, "steps": asked.steps}
        real = Trained(asked.model, asked.task, self.space, **numbers)
        metrics = []
        for done, choice in enumerate(choices, 1):
            metrics.append(real.score(choice).metric)
            yield Progress("gate", done, len(choices))
        scored = [asked.score(choice).metric for choice in choices]
        self.agreement = agreement(asked.name, self.space, choices, metrics, scored)
        if not self.agreement.is_better:
            self.said = f"{self.agreement.in_words}; each setting is trained for real instead, by successive halving"
            self._engine = Short(asked.model, asked.task, self.space, **numbers)

    def _try(self, choice: Choice, name: str = "") -> Trial:
        started = perf_counter()
        got: Score = self._engine.score(choice)
        self._proposals.tell(choice, metric=got.metric, loss=got.loss)
        trial = Trial(
            number=len(self._trials),
            params=self.space.params(choice),
            metric=got.metric,
            loss=got.loss,
            choice=self.space.written(choice),
            engine=self._engine.name,
            seconds=perf_counter() - started,
            name=name,
            config=self.space.config(choice),
        )
        self._trials.append(trial)
        return trial

    def _verify(self, trial: Trial, seeds: int) -> Verified:
        how, choice = self._engine, self.space.read(trial.choice)
        lora = _lora_space(how.model, self.space, trial.params)
        test, validation, of_lora = [], [], []
        for seed in range(seeds):
            model = trained(how.model, how.task, self.space, choice, how, seed)
            test.append(score(model, how.task.test).metric)
            validation.append(score(model, how.task.validation).metric)
            of_lora.append(score(trained(how.model, how.task, *lora, how, seed), how.task.test).metric)
        lora_params = lora[0].params(lora[1])
        return Verified(trial.number, trial.params, lora_params, tuple(test), tuple(of_lora), tuple(validation))


def _lora_space(model: nn.Module, space: SearchSpace, params: int) -> tuple[SearchSpace, Choice]:
    """LoRA on the same layers with the largest rank that has no more parameters, or rank 1 where that has more."""
    one = sum(site.in_features + site.out_features for site in space.layers)
    rank = max(1, params // one)
    lora = SearchSpace.of(model, "lora", ranks=(rank,), target_modules=[site.name for site in space.layers])
    return lora, lora.largest
