"""What single runs come to: the best rate, means and spreads, and when a difference counts."""

from __future__ import annotations

import math
from statistics import stdev

import pytest

from glora_lab.ideas.real.record import best_rate
from glora_lab.records import RealCell, RealRun, RealRuns
from tests.ideas.real.literal import RUNS, cell_of


def test_a_cell_is_at_the_rate_that_the_first_seeds_validation_part_chose() -> None:
    lora = RUNS.cell("LoRA", 8)
    assert lora.lr == 1e-3 and lora.tried == {5e-4: 0.70, 1e-3: 0.72, 2e-3: 0.50}
    assert lora.tests == (0.70, 0.71, 0.72) and lora.validations == (0.72, 0.73, 0.74)
    assert lora.mean == pytest.approx(0.71) and lora.spread == pytest.approx(stdev(lora.tests))
    assert lora.lost_beside == pytest.approx(0.02) and math.isnan(RUNS.cell("LoRA", 32).lost_beside)
    assert not lora.at_edge and RUNS.cell("LoRA", 32).at_edge
    assert RUNS.arms == ("linear probe", "LoRA", "GraLoRA k=4", "full fine-tuning")
    assert [cell.budget for cell in RUNS.of("LoRA")] == [8, 32]


def test_the_best_rate_is_the_smallest_of_equals_and_none_that_met_no_finite_number() -> None:
    assert best_rate({1e-3: 0.7, 5e-4: 0.7, 2e-3: math.nan}) == 5e-4
    assert best_rate({1e-3: math.nan, 2e-3: math.nan}) == 1e-3


def test_the_error_is_by_the_seeds_or_by_the_texts_whichever_is_larger() -> None:
    steady, wild = cell_of("LoRA", 8, (0.75, 0.75, 0.75)), cell_of("LoRA", 8, (0.65, 0.75, 0.85))
    assert steady.error == steady.binomial == pytest.approx(math.sqrt(0.75 * 0.25 / 3000))
    assert wild.error == pytest.approx(0.1 / math.sqrt(3)) and wild.error > wild.binomial
    alone = cell_of("LoRA", 8, (0.75,))
    assert math.isnan(alone.spread) and alone.error == pytest.approx(math.sqrt(0.75 * 0.25 / 1000))


def test_a_difference_counts_beyond_two_standard_errors_alone() -> None:
    low, near, high = (cell_of("LoRA", 8, (share, share, share)) for share in (0.70, 0.72, 0.74))
    assert not RUNS.difference(near, low).counts and RUNS.difference(high, low).counts
    assert RUNS.difference(high, low).difference == pytest.approx(0.04)
    margin = 2 * math.hypot(low.binomial, high.binomial)
    assert RUNS.difference(high, low).margin == pytest.approx(margin) and 0.02 < margin < 0.04
    wild = cell_of("LoRA", 8, (0.60, 0.70, 0.80))
    assert not RUNS.difference(high, wild).counts
    assert RUNS.difference(low, high).in_words == "LoRA at 8: below LoRA at 8 (-4.0 points, 2.3 would count)"
    assert "a tie with" in RUNS.difference(near, low).in_words


def test_arms_are_held_against_lora_of_the_same_budget_where_both_have_several_seeds() -> None:
    (one,) = RUNS.against("LoRA")  # at 32 both have one
    assert (one.one, one.other) == ("GraLoRA k=4 at 8", "LoRA at 8") and one.difference == pytest.approx(-0.06)


def test_a_run_anew_holds_within_three_errors_of_one_run() -> None:
    steady = cell_of("LoRA", 8, (0.75, 0.75, 0.75))
    one = math.sqrt(0.75 * 0.25 / 1000)
    assert steady.holds(0.75 + 2.9 * one) and not steady.holds(0.75 - 3.1 * one)
    assert cell_of("LoRA", 8, (0.65, 0.75, 0.85)).holds(0.5)
    assert cell_of("LoRA", 8, (0.75,)).holds(0.77) and not steady.holds(math.nan)


def test_a_run_has_not_begun_that_is_within_two_errors_of_the_frozen_model() -> None:
    assert RUNS.not_begun == () and RealRuns(RUNS.runs[1:], {}).not_begun == ()
    level = 0.5 + 2 * math.sqrt(0.25 / 1000)
    late = [
        RealRun("BitFit", 0, 20_736, 1e-2, seed, 0.5, test, 1.0) for seed, test in enumerate((0.53, 0.54, math.nan))
    ]
    worse = RealRun("BitFit", 0, 20_736, 1e-3, 0, 0.49, 0.50, 1.0)
    assert level < 0.54 and RealRuns((*RUNS.runs, *late, worse), {}).not_begun == (late[0], late[2])


def test_it_shows_itself_as_a_table_of_cells() -> None:
    rows = RUNS.to_dicts()
    assert [row["arm"] for row in rows] == [
        "linear probe",
        "LoRA",
        "LoRA",
        "GraLoRA k=4",
        "GraLoRA k=4",
        "full fine-tuning",
    ]
    assert rows[1] == {"arm": "LoRA", "budget": 8, "parameters": 331_776, "rate": 1e-3, "test": "0.710",
                       "spread": "0.010", "seeds": 3}  # fmt: skip
    assert "GraLoRA k=4" in RUNS._repr_html_()


def test_what_was_not_run_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"`arm` \(='BitFit'\) at `budget` \(=0\) was not run; there are linear probe, L"
    ):
        RUNS.cell("BitFit")
    assert RealRuns((), {}).cells == () and RealRuns((), {}).against() == ()
    assert isinstance(RUNS.runs[0], RealRun) and isinstance(RUNS.cells[0], RealCell)
