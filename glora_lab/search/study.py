"""A search: settings are proposed, scored one by one, and the best are trained anew before anything is claimed.

    study = search_paths(model, task, SearchSpace.of(model), limit=20_000, seed=0)
    for trial in study: ...
    study.front; study.best(limit=8_000).config; study.verify(seeds=3)

Before the first trial the engine is prepared and put to the test (the gate): settings of all sizes are trained for
real, and where the engine orders them no better than their parameter counts do, real short training takes its place.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from time import perf_counter
from typing import Any, NamedTuple

from torch import nn

from glora_lab.arguments import (
    A_MODEL,
    check_choice,
    check_count,
    check_kind,
    check_positive_int,
    check_positive_number,
    refuse,
)
from glora_lab.data import Task
from glora_lab.data.task import A_TASK
from glora_lab.ideas.search.record import Agreement, Trial, Verified

from .engines import ENGINES, Engine, Short, Trained
from .finalists import trained_anew
from .gate import agreement, spread_choices
from .identity import identity
from .limits import Limits
from .proposals import Proposals
from .score import Score
from .shared import SharedStudy
from .space import A_SPACE, SearchSpace
from .storage import Storage
from .stored import Claim, Finished, StoredTrials
from .view import StudyView
from .written import written

FINALISTS = 4


class Progress(NamedTuple):
    """One piece of work that is no trial: what it is part of, and how much of that is done."""

    stage: str  # "preparing", "gate", and "waiting" while others score the last trials
    done: int
    total: int


def search_paths(
    model: nn.Module,
    task: Task,
    space: SearchSpace,
    *,
    objectives: Sequence[str] = ("accuracy", "parameters"),
    limit: int | Mapping[str, int] | None = None,
    trials: int = 200,
    engine: str = "adapted",
    gate: int = 12,
    sampler: str = "nsga2",
    steps: int = 100,
    lr: float = 5e-3,
    seed: int = 0,
    storage: str | os.PathLike[str] | None = None,
    name: str = "search",
    grace: float = 60.0,
) -> Study:
    """Look for the settings of `space` that `model` learns `task` best with; nothing runs before the study is asked.

    Engine "paper" trains shared weights by one uniform draw a step, as arXiv 2306.07967 does; the others and the gate
    are ours.

    Args:
        model: the model, which is left as it is.
        task: what it is to learn. Settings are scored on its validation part; the test part is read by `verify` alone.
        objectives: what a good setting has, of "accuracy", "loss" and "parameters".
        limit: the most parameters that a setting may have, or a dict of "parameters", "flops" and "saved_bytes", the
            latter two of a training step, as `cost_report` counts them.
        trials: how many settings are looked at; fewer where the space has no more.
        engine: how one is scored: "inherited", "adapted", "short" or "paper", see `glora_lab.search.engines`.
        gate: how many settings, small and large, are trained for real to judge the engine by; 0 believes it.
        sampler: Optuna's "nsga2", "tpe" or "random".
        steps: steps of real training, of the gate and of `verify`; engine "short" takes up to so many.
        lr: learning rate of all training, AdamW with batches of 32, or of 8 texts that are written on.
        seed: the same gives the same study, on the same machine and in the same process. Workers of one study have
            random numbers of their own whatever it is, and the engine those of whoever made the study.
        storage: where the trials are kept, for as many processes as like to join: a journal file for those of one
            machine, a URL of PostgreSQL or MySQL for many machines, see `glora_lab.search.storage`. None: in memory.
        name: the study's name in a storage. Who gives one that is there joins it, where model, data, space, settings
            and version of this package are the same.
        grace: seconds after which a worker that gives no sign of life is taken for dead, and its choice tried again.

    Returns:
        A `Study`, which is an iterator of `Trial` records.

    Raises:
        ValueError: naming the argument, before anything starts; for a `limit` that no setting meets it names what
            the smallest has; for a `name` what differs in the study that has it.
        ImportError: without Optuna, or the driver of a database.
        ConnectionError: where a database does not answer; its password is not in what is said.
    """
    check_kind("model", model, nn.Module, A_MODEL)
    check_kind("task", task, Task, A_TASK)
    check_choice("engine", engine, tuple(ENGINES))
    for argument, number in {"trials": trials, "steps": steps}.items():
        check_positive_int(argument, number)
    check_count("gate", gate)
    if gate == 1:
        raise refuse("gate", gate, "must be 0, or 2 settings or more: one has no order")
    check_count("seed", seed)
    check_positive_number("lr", lr)
    check_kind("space", space, SearchSpace, A_SPACE)

    check_positive_number("grace", grace)
    limits = Limits(model, task, space, limit)
    proposals = Proposals(space, sampler=sampler, seed=seed, objectives=objectives, limits=limits)
    shared = SharedStudy(Storage(storage, patience=grace), name)
    settings: dict[str, Any] = {"limit": limits.most, "engine": engine, "gate": gate, "steps": steps, "lr": lr}
    about: dict[str, Any] = {"objectives": list(proposals.objectives), "settings": settings}
    about |= {"seed": seed, "trials": trials, "grace": grace, "space": written(space)}
    told = {"objectives": proposals.objectives, **settings}
    about["identity"] = {} if storage is None else identity(model, task, space, told)
    there = shared.join(about)
    scorer = ENGINES[engine](model, task, space, seed=there["seed"], lr=lr, steps=steps)
    stored = StoredTrials(shared.storage, shared.study_id, most=trials, grace=grace)
    return Study(scorer, proposals, stored, shared, gate=gate)


class Study(StudyView):
    """The trials of a search, as an iterator that goes on where it was left, and what they come to.

    Made by `search_paths`, which gives it its `engine`, `proposals`, the trials that are `stored`, what is `shared`
    with other processes, and the size of its `gate`. What it yields are the trials made here; `trials` are those of all
    who share its storage. `agreement` is what the gate found (None before it, and for an engine that trains for real).
    `engine` is the name of the one that scores, `said` a sentence where another took its place.
    """

    def __init__(
        self, engine: Engine, proposals: Proposals, stored: StoredTrials, shared: SharedStudy, *, gate: int
    ) -> None:
        super().__init__(engine.space, stored, proposals.objectives, proposals.limits.most)
        self._engine, self._proposals, self._shared, self._gate = engine, proposals, shared, gate
        self._anchors = proposals.anchors()
        self._work = self._run()
        self.refresh()
        if stored.begun:
            proposals.draw_as(stored.begun)

    @property
    def work(self) -> int:
        """How many pieces of work that is at most, with those on the way to the first trial."""
        return self._engine.total + self._gate + self.total

    @property
    def engine(self) -> str:
        """The name of the engine that scores."""
        return self._engine.name

    def __iter__(self) -> Iterator[Trial]:
        for event in self._work:
            if isinstance(event, Trial):
                yield event

    def advance(self) -> Trial | Progress | None:
        """The next piece of work, of tenths of a second: a trial, or a step towards the first. None at the end."""
        return next(self._work, None)

    def verify(self, seeds: int = 3) -> tuple[Verified, ...]:
        """Train the finalists anew, and LoRA of as many parameters, each with `seeds` seeds, and read the test part.

        Raises:
            ValueError: for a number of seeds that is none.
        """
        check_positive_int("seeds", seeds)
        self.verified = tuple(trained_anew(self._engine, trial, seeds) for trial in self.finalists)
        return self.verified

    @property
    def finalists(self) -> tuple[Trial, ...]:
        """Up to four of the front, evenly from the smallest to the largest."""
        ends = self.front
        places = sorted({round(i * (len(ends) - 1) / max(1, FINALISTS - 1)) for i in range(FINALISTS)}) if ends else []
        return tuple(ends[place] for place in places)

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
        if self._stored.finished >= self.total:
            return
        yield from self._believe()
        while (claim := (yield from self._claim())) is not None:
            trial = self._try(claim)
            if trial is not None:
                yield trial

    def _believe(self) -> Iterator[Progress]:
        """Prepare the engine and put it to the test, once for all workers."""
        judged = bool(self._gate) and self._engine.name != Short.name
        self.agreement = self._shared.agreement if judged else None
        if self.agreement is None or self.agreement.is_better:
            for done, _ in enumerate(self._engine.prepare(), 1):
                yield Progress("preparing", done, self._engine.total)
        if judged and self.agreement is None:
            self.agreement = self._shared.agree((yield from self._put_to_the_test()))
        if self.agreement is not None and not self.agreement.is_better:
            asked = self._engine
            self._engine = Short(asked.model, asked.task, self.space, **_numbers(asked))

    def _put_to_the_test(self) -> Generator[Progress, None, Agreement]:
        """Whether the engine orders settings of all sizes better than counting does."""
        asked = self._engine
        choices = spread_choices(self.space, self._gate, asked.seed + 1, self.limit)
        real = Trained(asked.model, asked.task, self.space, **_numbers(asked))
        metrics = []
        for done, choice in enumerate(choices, 1):
            metrics.append(real.score(choice).metric)
            yield Progress("gate", done, len(choices))
        scored = [asked.score(choice).metric for choice in choices]
        return agreement(asked.name, self.space, choices, metrics, scored)

    def _claim(self) -> Generator[Progress, None, Claim | None]:
        """A choice to score; None at the end. Where the last ones are with others, wait whether these live."""
        pause = 0.02
        while True:
            self.refresh()
            if (again := self._stored.retry()) is not None:
                return again
            left = self.total - self._stored.finished
            if left <= 0:
                return None
            if left > self._stored.running + self._stored.waiting:
                if (new := self._proposed()) is not None:
                    return new
                if not self._stored.running:
                    return None
            time.sleep(pause)
            pause = min(2 * pause, self._stored.grace / 20, 1.0)
            yield Progress("waiting", self._stored.finished, self.total)

    def _proposed(self) -> Claim | None:
        """A choice that nobody has; None where there are no more, or no place."""
        for name, choice in self._anchors:
            if isinstance(claim := self._stored.claim(self.space.written(choice), name), Claim):
                return claim
        while self._stored.running + self._stored.finished + self._stored.waiting < self.total:
            if (new := self._proposals.ask()) is None:
                return None
            claim = self._stored.claim(self.space.written(new))
            if isinstance(claim, Claim):
                return claim
            self._proposals.withdraw(new, claim)
        return None

    def _take(self, finished: Finished) -> Trial:
        """Whoever made a trial, the sampler learns from it."""
        made = super()._take(finished)
        self._proposals.tell(self.space.read(made.choice), metric=made.metric, loss=made.loss)
        return made

    def _try(self, claim: Claim) -> Trial | None:
        """Score a choice; None where this worker was taken for dead meanwhile."""
        started, choice = perf_counter(), self.space.read(claim.choice)
        with self._stored.alive(claim):
            try:
                got: Score = self._engine.score(choice)
            except Exception as error:
                self._stored.fail(claim, f"{type(error).__name__}: {error}")
                raise
            except BaseException:
                self._stored.give_back(claim)
                raise
        result = {**got._asdict(), "engine": self._engine.name, "seconds": perf_counter() - started}
        values = self._proposals.values(choice, got.metric, got.loss)
        if not self._stored.finish(claim, result, values):
            return None
        return self._take(Finished(claim.number, claim.choice, claim.name, result))


def _numbers(engine: Engine) -> dict[str, Any]:
    return {"seed": engine.seed, "lr": engine.lr, "steps": engine.steps}
