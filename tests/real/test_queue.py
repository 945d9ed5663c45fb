"""The order of the runs: what a stopped queue has is useful, and every arm is at its own best rate."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from glora_lab.ideas.real.record import RealRun
from glora_lab.real.arms import ARMS, CORE, SEARCHED
from glora_lab.real.queue import CHANGES, COARSE, DRIFT, RATES, SEARCH, Job, is_tuned, rates_to_try, still_wanted
from tests.real.stand_in import made_up, share

CELLS = {(arm.name, budget) for arm in ARMS.values() for budget in arm.budgets}


def played(seeds: int = 3) -> list[Job]:
    """All jobs, in the order in which one process does them."""
    runs: list[RealRun] = []
    made: list[str] = []
    order: list[Job] = []
    while job := next(still_wanted(runs, made, seeds=seeds), None):
        order.append(job)
        line = made_up(job, [], Path())
        if "run" in line:
            runs.append(RealRun(**line["run"]))
        else:
            made.append(line["once"])
    return order


def test_first_the_core_and_in_it_every_budget_once_then_rates_then_seeds() -> None:
    order = played()
    runs = [job for job in order if job.is_run]
    core = [job.arm in CORE for job in runs]
    assert core == sorted(core, reverse=True) and set(core) == {True, False}
    for part in (True, False):
        mine = [job for job in runs if (job.arm in CORE) == part and job.arm != SEARCHED]
        cells = {cell for cell in CELLS if (cell[0] in CORE) == part and cell[0] != SEARCHED}
        first = mine[: len(cells)]
        assert {(job.arm, job.budget) for job in first} == cells
        assert all(job.lr == ARMS[job.arm].guess[job.budget] for job in first)
        seeds = [job.seed for job in mine]
        assert seeds == sorted(seeds) and set(seeds) == {0, 1, 2}
    assert len(order) == len(set(order))
    last = [(job.arm, job.budget) for job in order if job.seed == 2]
    assert len(last) == len(CELLS) and set(last) == CELLS


def test_what_is_made_once_is_made_when_what_it_needs_is_tuned() -> None:
    order = played()
    changes, drift, search = (order.index(Job(name)) for name in (CHANGES, DRIFT, SEARCH))
    last_rate = {arm: max(n for n, job in enumerate(order) if job.arm == arm and job.seed == 0) for arm in CORE}
    assert last_rate["full fine-tuning"] < changes and max(last_rate.values()) < drift < search
    assert min(n for n, job in enumerate(order) if job.arm == SEARCHED) > search


def test_the_other_seeds_are_run_at_the_rate_that_was_best_with_the_first() -> None:
    order = played()
    for cell in CELLS:
        jobs = [job for job in order if (job.arm, job.budget) == cell]
        tried = {job.lr: share(job) for job in jobs if job.seed == 0}
        best = max(tried, key=lambda lr: tried[lr])
        assert {job.lr for job in jobs if job.seed} == {best}
        assert best == (RATES[0] if cell[0] == "full fine-tuning" else 2e-3)


def test_rates_go_on_until_both_neighbours_of_the_best_are_tried_or_there_are_no_more() -> None:
    assert rates_to_try({}) == [] and not is_tuned({})
    tried = {1e-3: 0.7}
    for lr, reached in {2e-3: 0.8, 5e-3: 0.6, 3e-3: 0.7, 1.5e-3: 0.85}.items():  # 1e-3 and 2e-3 are its neighbours
        assert rates_to_try(tried) == [lr] and not is_tuned(tried)
        tried[lr] = reached
    assert rates_to_try(tried) == [] and is_tuned(tried)
    assert rates_to_try({1e-3: 0.7, 2e-3: 0.6}) == [5e-4]
    assert rates_to_try({1e-3: 0.8, 2e-3: float("nan"), 5e-4: 0.8}) == [2e-4]  # the smallest of equals
    assert rates_to_try({0.5: 0.8, 0.2: 0.7}) == [0.7] and rates_to_try({1e-5: 0.8, 2e-5: 0.7}) == [1.5e-5]
    assert rates_to_try({0.5: 0.8, 0.2: 0.7, 0.7: 0.9}) == [] and is_tuned({1e-5: 0.8, 2e-5: 0.7, 1.5e-5: 0.0})


def test_every_guess_is_a_rate_that_there_is() -> None:
    assert all(guess in COARSE for arm in ARMS.values() for guess in arm.guess.values())
    assert set(COARSE) <= set(RATES) and sorted(RATES) == list(RATES) and sorted(COARSE) == list(COARSE)
    steps = [after / before for grid in (RATES, COARSE) for before, after in pairwise(grid)]
    assert min(steps) > 1.3 and max(steps) <= 2.5 + 1e-9
    assert max(after / before for before, after in pairwise(RATES)) < 1.7
