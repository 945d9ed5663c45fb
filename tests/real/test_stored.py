"""The stored records: small, read as they were written, and of the arms, rates and layers that there are today."""

from __future__ import annotations

import json
import math
from importlib import resources

import pytest

from glora_lab.figures import plot_real_changes, plot_real_drift, plot_real_runs
from glora_lab.ideas.merging.record import OURS, STOCK
from glora_lab.real import stored_changes, stored_drift, stored_runs
from glora_lab.real.arms import ARMS, SEARCHED, adapted, trained_params
from glora_lab.real.changes import FILE as CHANGES
from glora_lab.real.merging import CYCLES
from glora_lab.real.merging import FILE as DRIFT
from glora_lab.real.queue import BUDGET, MERGED, RATES, SEEDS, is_tuned
from glora_lab.real.run import BATCH, MODEL, STEPS, TASK, real_model
from glora_lab.real.stored import FILE, _runs_written, read_runs

RUNS = stored_runs()
HOME = resources.files("glora_lab.real")


def test_they_are_small_and_read_as_they_were_written() -> None:
    text = (HOME / FILE).read_text(encoding="utf-8")
    assert len(text.encode()) < 50_000 and _runs_written(RUNS) == text
    assert read_runs(json.loads(text)) == RUNS
    assert sum(len((HOME / file).read_text(encoding="utf-8").encode()) for file in (CHANGES, DRIFT)) < 60_000


def test_each_run_is_of_an_arm_a_budget_and_a_rate_that_there_are() -> None:
    for run in RUNS.runs:
        assert run.budget in ARMS[run.arm].guess and run.lr in RATES and 0 <= run.seed < SEEDS and run.seconds > 0
        for share in (run.validation, run.test):
            assert math.isnan(share) or round(1000 * share) == pytest.approx(1000 * share)
    assert len({(run.cell, run.lr, run.seed) for run in RUNS.runs}) == len(RUNS.runs)
    assert len(RUNS.runs) <= sum(machine["lines"] for machine in RUNS.made["machines"])


def test_its_counts_are_those_of_the_arms_today() -> None:
    for cell in RUNS.cells:
        if cell.arm != SEARCHED:
            assert cell.params == trained_params(adapted(real_model(), cell.arm, cell.budget, 0)), cell.name


def test_a_cell_with_several_seeds_has_both_neighbours_of_its_best_rate() -> None:
    several = [cell for cell in RUNS.cells if len(cell.tests) > 1]
    assert all(is_tuned(cell.tried) for cell in several) and len(several) >= 8
    assert all(len(cell.tests) <= SEEDS for cell in RUNS.cells)


def test_it_says_how_it_was_made() -> None:
    made = RUNS.made
    assert (made["model"], made["task"], made["steps"], made["batch"]) == (MODEL, TASK, STEPS, BATCH)
    assert tuple(made["rates"]) == RATES and made["search"]["trials"] == 30
    for machine in made["machines"]:
        assert {"device", "python", "torch", "transformers", "peft", "numpy", "glora_lab", "lines"} == set(machine)


def test_all_36_matrices_are_there_with_their_spectra() -> None:
    changes = stored_changes()
    assert len(changes.matrices) == 36 and (changes.ks, changes.ranks) == ((1, 2, 4, 8), (8, 16, 32))
    assert {matrix.shape for matrix in changes.matrices} == {(384, 384), (1536, 384), (384, 1536)}
    for matrix in changes.matrices:
        assert matrix.values[0] == 1.0 and list(matrix.values) == sorted(matrix.values, reverse=True)
        assert matrix.slope < 0 and len(matrix.values) == 64
        assert list(matrix.energy.values()) == sorted(matrix.energy.values())
        # without blocks, the error is what the energy leaves
        for n in (8, 16, 32):
            assert matrix.errors[1, n] == pytest.approx(math.sqrt(1 - matrix.energy[n]), abs=2e-3)
    assert changes.made["lr"] == RUNS.cell("full fine-tuning").lr


def test_drift_is_of_both_libraries() -> None:
    drift = stored_drift()
    assert {(row.method, row.by) for row in drift.rows} == {(name, by) for name in MERGED for by in (OURS, STOCK)} - {
        ("LoRA", OURS)
    }
    for row in drift.rows:
        assert set(row.drift) == set(CYCLES) and row.effect > 0
    assert drift.made["budget"] == BUDGET


def test_each_has_its_picture() -> None:
    assert len(plot_real_runs(RUNS).data) > 0
    assert len(plot_real_changes(stored_changes()).data) == 36 + 1 + 3
    assert len(plot_real_drift(stored_drift()).data) == 4
