"""What is still to be run, in the order in which a queue that is stopped has been most useful.

First the arms of the core, then the others: every budget at the rate that was guessed, then the rates beside the best,
until both of its neighbours are tried; then the other seeds, each for all arms before the next. In between what full
fine-tuning changes in the weights, what merging loses, and the search. Decision: rates are chosen on the validation
part of the first seed alone, which is what time allows. They are a factor of about two apart until the best of them has
both its neighbours, and about one and a half from then on: a step of two can cost twenty points.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from glora_lab.ideas.real.record import RealRun, best_rate

from .arms import ARMS, CORE, SEARCHED

RATES = tuple(float(f"{step}e{power}") for power in range(-5, 0) for step in (1, 1.5, 2, 3, 5, 7))  # 1e-5 to 0.7
COARSE = tuple(float(f"{step}e{power}") for power in range(-5, 0) for step in (1, 2, 5))
SEEDS = 3
MERGED, BUDGET = ("LoRA", "GraLoRA k=4", "GLoRA, all paths"), 32  # whose merging is looked at
Cell = tuple[str, int]
SEARCH, CHANGES, DRIFT = "search", "changes", "drift"  # made once each, by the best rates


@dataclass(frozen=True)
class Job:
    """A run, or one of what is made once."""

    arm: str
    budget: int = 0
    lr: float = 0.0
    seed: int = 0

    @property
    def is_run(self) -> bool:
        return self.arm in ARMS


def still_wanted(runs: Collection[RealRun], made: Collection[str], *, seeds: int = SEEDS) -> Iterator[Job]:
    """The jobs that can be begun, the most useful first; of `made` what was made once."""
    done = {Job(run.arm, run.budget, run.lr, run.seed) for run in runs}
    guesses = {(arm.name, budget): guess for arm in ARMS.values() for budget, guess in arm.guess.items()}
    guesses = {cell: guess for cell, guess in guesses.items() if cell[0] != SEARCHED or SEARCH in made}
    tried = {cell: {run.lr: run.validation for run in runs if run.cell == cell and run.seed == 0} for cell in guesses}
    for core in (True, False):
        cells = [cell for cell in guesses if (cell[0] in CORE) == core]
        yield from (Job(*cell, guesses[cell]) for cell in cells if not tried[cell])
        for cell in cells:
            yield from (Job(*cell, lr) for lr in rates_to_try(tried[cell]))
        tuned = [cell for cell in cells if is_tuned(tried[cell])]
        yield from (Job(name) for name in _once(tuned, core=core) if name not in made)
        for seed in range(1, seeds):
            jobs = [Job(*cell, best_rate(tried[cell]), seed) for cell in tuned]
            yield from (job for job in jobs if job not in done)


def _once(tuned: Collection[Cell], *, core: bool) -> Iterator[str]:
    """What can be made once these arms are tuned."""
    if not core:
        yield SEARCH
    if ("full fine-tuning", 0) in tuned:
        yield CHANGES
    if {(arm, BUDGET) for arm in MERGED} <= set(tuned):
        yield DRIFT


def rates_to_try(tried: Mapping[float, float]) -> list[float]:
    """The next rate: the one above the best of those tried, or below it, first of the coarse grid and then of the
    fine one; none where both are known."""
    for rates in (COARSE, RATES):
        on_grid = {lr: share for lr, share in tried.items() if lr in rates}
        if on_grid:
            best = rates.index(best_rate(on_grid))
            beside = [rates[n] for n in (best + 1, best - 1) if 0 <= n < len(rates)]
            if untried := [lr for lr in beside if lr not in tried]:
                return untried[:1]
    return []


def is_tuned(tried: Mapping[float, float]) -> bool:
    return bool(tried) and not rates_to_try(tried)
