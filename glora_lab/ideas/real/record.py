"""Accuracy over parameters on a real model: single runs, what they come to for each arm and budget, and who differs.

Decision: a difference of two cells counts from two standard errors on, by the spread of their seeds or by the number of
texts that were asked about, whichever is larger. With three seeds that is a rule of thumb and no test.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, stdev
from typing import Any

from glora_lab.record import Record


@dataclass(frozen=True, eq=False)
class RealRun(Record):
    """One training on a real model.

    Attributes:
        arm: the method: "LoRA", "GraLoRA k=4", "full fine-tuning", "linear probe".
        budget: rank of the LoRA that has as many parameters; 0 of an arm that has but one size.
        params: parameters trained beside the head.
        lr: the learning rate.
        seed: of the initial values and of the batches.
        validation: share of the validation part that is right, 0 to 1; nan where the rate was too large.
        test: share of the test part that is right, likewise.
        seconds: processor time of the training.
    """

    arm: str
    budget: int
    params: int
    lr: float
    seed: int
    validation: float
    test: float
    seconds: float

    @property
    def cell(self) -> tuple[str, int]:
        """(arm, budget)."""
        return self.arm, self.budget


@dataclass(frozen=True, eq=False)
class RealCell(Record):
    """An arm in one size at its best rate.

    Attributes:
        arm: the method.
        budget: rank of the LoRA that has as many parameters; 0 of an arm that has but one size.
        params: parameters trained beside the head.
        lr: the best learning rate.
        tests: for each seed, the share of the test part that is right, 0 to 1.
        validations: for each seed, the share of the validation part that is right.
        tried: every rate that was tried with the first seed → its validation share.
        texts: how many texts the test part has.
    """

    arm: str
    budget: int
    params: int
    lr: float
    tests: tuple[float, ...]
    validations: tuple[float, ...]
    tried: Mapping[float, float]
    texts: int

    @property
    def mean(self) -> float:
        """Share of the test part that is right, the mean over the seeds."""
        return fmean(self.tests)

    @property
    def spread(self) -> float:
        """The standard deviation over the seeds; nan of one."""
        return stdev(self.tests) if len(self.tests) > 1 else math.nan

    @property
    def binomial(self) -> float:
        """The standard error of the mean that the number of texts alone would leave."""
        return math.sqrt(self.mean * (1 - self.mean) / (self.texts * len(self.tests)))

    @property
    def error(self) -> float:
        """The standard error of the mean, by the seeds or by the texts, the larger of the two."""
        by_seeds = self.spread / math.sqrt(len(self.tests)) if len(self.tests) > 1 else 0.0
        return max(by_seeds, self.binomial)

    @property
    def at_edge(self) -> bool:
        """Whether the best rate is the smallest or the largest that was tried, so that a better one may lie beyond."""
        return self.lr in (min(self.tried), max(self.tried))

    @property
    def lost_beside(self) -> float:
        """By how much the validation share at the better neighbour of the best rate is below that at the best, where it
        is many points, a finer grid of rates could move the mean. nan where no other rate was tried."""
        known = [0.0 if math.isnan(share) else share for lr, share in self.tried.items() if lr != self.lr]
        return self.tried[self.lr] - max(known) if known else math.nan

    @property
    def name(self) -> str:
        """ "LoRA at 8"; the arm alone where it has one size."""
        return f"{self.arm} at {self.budget}" if self.budget else self.arm

    def holds(self, test: float) -> bool:
        """Whether a run anew is where the stored ones are: within three errors of one run from their mean."""
        one_run = math.sqrt(self.mean * (1 - self.mean) / self.texts)
        spread = 0.0 if math.isnan(self.spread) else self.spread
        return abs(test - self.mean) <= 3 * max(one_run, spread)

    def to_dicts(self) -> list[dict[str, Any]]:
        shown = {"arm": self.arm, "budget": self.budget or "", "parameters": self.params, "rate": self.lr}
        return [{**shown, "test": f"{self.mean:.3f}", "spread": f"{self.spread:.3f}", "seeds": len(self.tests)}]


@dataclass(frozen=True, eq=False)
class Difference(Record):
    """How far one arm is above another.

    Attributes:
        one: the arm with its budget.
        other: the arm that it is compared with.
        difference: of the mean shares of the test part that are right, `one` minus `other`.
        margin: the least difference that counts, two standard errors.
    """

    one: str
    other: str
    difference: float
    margin: float

    @property
    def counts(self) -> bool:
        """Whether it is above what counts, either way."""
        return abs(self.difference) > self.margin

    @property
    def in_words(self) -> str:
        """Who is above whom or ties, by how many points (per cent), and how many would count."""
        points = f"{100 * self.difference:+.1f} points, {100 * self.margin:.1f} would count"
        verdict = ("above" if self.difference > 0 else "below") if self.counts else "a tie with"
        return f"{self.one}: {verdict} {self.other} ({points})"


@dataclass(frozen=True, eq=False)
class RealRuns(Record):
    """All runs on a real model, and what they come to.

    Attributes:
        runs: one for each arm, budget, rate and seed.
        made: of what and on what: model, task, steps, batch, the grid of rates, versions and hardware.
        texts: how many texts the test part has.
    """

    runs: tuple[RealRun, ...]
    made: Mapping[str, Any]
    texts: int = 1000

    @cached_property
    def cells(self) -> tuple[RealCell, ...]:
        """Each arm and budget at the rate that the validation part of the first seed chose."""
        return tuple(self._cell(cell) for cell in dict.fromkeys(run.cell for run in self.runs))

    @property
    def rows(self) -> Sequence[Record]:
        """The cells, under the name that all records have for their rows."""
        return self.cells

    @property
    def arms(self) -> tuple[str, ...]:
        """In the order of the runs."""
        return tuple(dict.fromkeys(run.arm for run in self.runs))

    def cell(self, arm: str, budget: int = 0) -> RealCell:
        """The one of an arm and a budget; ValueError where there is none."""
        found = [cell for cell in self.cells if (cell.arm, cell.budget) == (arm, budget)]
        if not found:
            raise ValueError(f"`arm` (={arm!r}) at `budget` (={budget!r}) was not run; there are {self._names()}")
        return found[0]

    def of(self, arm: str) -> tuple[RealCell, ...]:
        """The sizes of an arm, the smallest first."""
        return tuple(sorted((cell for cell in self.cells if cell.arm == arm), key=lambda cell: cell.params))

    def difference(self, one: RealCell, other: RealCell) -> Difference:
        """Of their mean shares of the test part."""
        margin = 2 * math.hypot(one.error, other.error)
        return Difference(one.name, other.name, one.mean - other.mean, margin)

    def against(self, other: str = "LoRA") -> tuple[Difference, ...]:
        """Each arm beside `other` of the same budget, where both have several seeds: the first, which has chosen the
        rate, says too much for itself."""
        several = [cell for cell in self.cells if cell.budget and len(cell.tests) > 1]
        beside = {cell.budget: cell for cell in several if cell.arm == other}
        return tuple(
            self.difference(cell, beside[cell.budget])
            for cell in several
            if cell.budget in beside and cell.arm != other
        )

    @property
    def not_begun(self) -> tuple[RealRun, ...]:
        """The runs at their cell's rate that are within two standard errors of the frozen model, itself left out.

        They have learnt nothing that could be told."""
        frozen = [cell for cell in self.cells if not cell.params]
        if not frozen:
            return ()
        level = frozen[0].mean + 2 * math.sqrt(frozen[0].mean * (1 - frozen[0].mean) / self.texts)
        at_best = {(cell.arm, cell.budget): cell.lr for cell in self.cells if cell.params}
        return tuple(run for run in self.runs if at_best.get(run.cell) == run.lr and not run.test > level)

    def _cell(self, cell: tuple[str, int]) -> RealCell:
        runs = [run for run in self.runs if run.cell == cell]
        first = min(run.seed for run in runs)
        tried = {run.lr: run.validation for run in sorted(runs, key=lambda run: run.lr) if run.seed == first}
        lr = best_rate(tried)
        at_best = sorted((run for run in runs if run.lr == lr), key=lambda run: run.seed)
        tests, validations = tuple(run.test for run in at_best), tuple(run.validation for run in at_best)
        return RealCell(*cell, at_best[0].params, lr, tests, validations, tried, self.texts)

    def _names(self) -> str:
        return ", ".join(cell.name for cell in self.cells)


def best_rate(tried: Mapping[float, float]) -> float:
    """The rate with the best validation share, the smallest of equals; one that met no finite number is the worst."""
    return max(sorted(tried), key=lambda lr: -1.0 if math.isnan(tried[lr]) else tried[lr])
