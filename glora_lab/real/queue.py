"""What is still to be run, in the order in which a queue that is stopped has been most useful.

First the arms of the core, then the others: every budget at the rate that was guessed, then the rates beside the best,
until both of its neighbours are tried; then the other seeds, each for all arms before the next. In between what full
fine-tuning changes in the weights, what merging loses, and the search. Decision: rates are chosen on the validation
part of the first seed alone, which is what time allows; they are a factor of about two apart.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from glora_lab.ideas.real.record import RealRun, best_rate

from .arms import ARMS, CORE, SEARCHED

RATES = tuple(step * 10.0**power for power in range(-5, 0) for step in (1, 2, 5))  # 1e-5, 2e-5, …, 0.5
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
    """The next rate: the one above the best of those tried, or below it, or none where both are known."""
    if not tried:
        return []
    best = RATES.index(best_rate(tried))
    beside = [RATES[n] for n in (best + 1, best - 1) if 0 <= n < len(RATES)]
    return [lr for lr in beside if lr not in tried][:1]


def is_tuned(tried: Mapping[float, float]) -> bool:
    return bool(tried) and not rates_to_try(tried)
