"""Accuracy over parameters drawn: lines, spreads, the frozen model across, and the finding as the title."""

from __future__ import annotations

import json

import pytest

from glora_lab.drawing.still import still
from glora_lab.figures import describe_real_runs, plot_real_runs
from glora_lab.ideas.real.record import RealRun, RealRuns
from tests.ideas.real.literal import MADE, RUNS, run


def traces(runs: RealRuns) -> dict:
    return {trace.name: trace for trace in plot_real_runs(runs).data}


def test_each_arm_is_a_line_of_means_with_the_spread_of_its_seeds() -> None:
    found = traces(RUNS)
    assert set(found) == {f"{arm}{spread}" for arm in RUNS.arms[1:] for spread in ("", ", spread")}
    lora, spread = found["LoRA"], found["LoRA, spread"]
    assert lora.x == (331_776, 1_327_104) and lora.y == pytest.approx((0.71, 0.73)) and lora.mode == "lines+markers"
    assert list(spread.x) == [331_776, 331_776, None]
    assert list(spread.y)[:2] == pytest.approx([0.70, 0.72])
    assert lora.customdata[0] == ["331,776", "0.001", "3 seeds, spread 1.0 points"]
    assert lora.customdata[1] == ["1.33 M", "0.001", "one seed"]
    assert found["full fine-tuning"].mode == "markers" and found["full fine-tuning"].x == (22_713_216,)


def test_arms_of_one_budget_lie_side_by_side_and_are_told_apart() -> None:
    more = (run("GraLoRA k=2", 8, 331_776, 1e-3, 0, 0.6, 0.6), run("GraLoRA k=2", 32, 1_327_104, 1e-3, 0, 0.6, 0.6))
    found = traces(RealRuns((*RUNS.runs, *more), MADE))
    places = [found[arm].x[0] for arm in ("LoRA", "GraLoRA k=4", "GraLoRA k=2")]
    assert len(set(places)) == 3 and all(abs(place / 331_776 - 1) < 0.1 for place in places)
    assert found["GraLoRA k=4"].marker.symbol != found["GraLoRA k=2"].marker.symbol
    assert found["GraLoRA k=4"].line.color == found["GraLoRA k=2"].line.color != found["LoRA"].line.color


def test_what_trains_nothing_but_the_head_is_a_line_across() -> None:
    figure = plot_real_runs(RUNS)
    (across,) = figure.layout.shapes
    assert across.y0 == across.y1 == 0.50 and across.xref == "paper"
    assert [note.text for note in figure.layout.annotations] == ["linear probe, 50.0%"]


def test_the_title_counts_who_is_above_lora_and_who_ties() -> None:
    title = plot_real_runs(RUNS).layout.title.text
    assert title.startswith("Beside LoRA of as many parameters: <b>0 ties, 0 above and 1 below</b><br>")
    assert "minilm, swapped, 100 steps" in title and "3 seeds" in title
    alone = RealRuns(RUNS.runs[:2], MADE)
    assert plot_real_runs(alone).layout.title.text.startswith("<b>LoRA at 8</b> has 70.0% of the test part")
    assert plot_real_runs(RealRuns((), MADE)).layout.title.text.startswith("No run yet")


def test_in_words() -> None:
    words = describe_real_runs(RUNS)
    assert words == (
        "Mean shares of the test part: linear probe 50.0% of 0 parameters; LoRA at 8 71.0% of 331,776 parameters; "
        "LoRA at 32 73.0% of 1.33 M parameters; GraLoRA k=4 at 8 65.0% of 331,776 parameters; "
        "GraLoRA k=4 at 32 69.0% of 1.33 M parameters; full fine-tuning 75.0% "
        "of 22.7 M parameters. 0 of 1 comparisons with LoRA of as many parameters tie. GraLoRA k=4 at 8: below LoRA "
        "at 8 (-6.0 points, 2.7 would count). Differences above two standard errors, by the spread of the seeds or by "
        "the number of texts, count. The second best rate of a cell is 2.0 points lower in the median."
    )
    assert describe_real_runs(RealRuns((), MADE)) == "No run yet."
    late = RealRuns((*RUNS.runs, run("BitFit", 0, 20_736, 1e-2, 0, 0.5, 0.53)), MADE)
    assert describe_real_runs(late).endswith(" 1 run at the best rate is no further than the frozen model.")


def test_a_page_without_plotly_has_it_too_and_markup_in_a_name_is_shown_as_it_is() -> None:
    strange = RealRuns((*RUNS.runs, RealRun("<b>x", 0, 10, 1e-3, 0, 0.5, 0.5, 0.0)), MADE)
    svg = still(json.loads(plot_real_runs(strange).to_json()))
    assert svg.startswith("<svg") and "Beside LoRA" in svg and "<b>x" not in svg
