"""What full fine-tuning changed, and what merging loses, drawn from literal records."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from glora_lab.drawing.still import still
from glora_lab.figures import describe_real_changes, describe_real_drift, plot_real_changes, plot_real_drift
from glora_lab.records import RealDrift
from tests.ideas.real.literal import CHANGES, DRIFT, MADE


def test_the_record_says_which_k_is_nearest_and_how_the_energy_lies() -> None:
    assert (CHANGES.ks, CHANGES.ranks) == ((1, 4), (8,))
    assert CHANGES.matrices[0].order(8) == (1, 4) and CHANGES.matrices[1].order(8) == (4, 1)
    assert (CHANGES.nearest(1, 8), CHANGES.nearest(4, 8)) == (1, 1)
    assert CHANGES.mean_error(1, 8) == pytest.approx(0.6) and CHANGES.energy(8) == 0.5 and CHANGES.slope == -0.75
    (first, low), (last, high) = CHANGES.trend
    assert (first, last) == (1, 4) and high == pytest.approx(low * 4**-0.75)
    assert CHANGES.to_dicts()[0]["nearest k at r = 8"] == 1 and CHANGES.to_dicts()[0]["first 8"] == "50%"


def test_spectra_on_the_left_and_errors_on_the_right() -> None:
    figure = plot_real_changes(CHANGES)
    one, other, trend, errors = figure.data
    assert one.y == pytest.approx((1.0, 0.5, 1 / 3, 0.25)) and one.x == (1, 2, 3, 4)
    assert [trace.showlegend for trace in (one, other)] == [True, False] and trend.name == "slope -0.75"
    assert errors.x == (1, 4) and errors.y == pytest.approx((0.6, 0.6)) and errors.xaxis == "x2"
    assert figure.layout.title.text.endswith("what full fine-tuning changed in <b>1 of 2</b> matrices")
    every = replace(CHANGES, matrices=CHANGES.matrices[:1])
    assert plot_real_changes(every).layout.title.text.endswith("in <b>all 1</b> matrices")
    assert still(json.loads(figure.to_json())).startswith("<svg")


def test_the_changes_in_words() -> None:
    assert describe_real_changes(CHANGES) == (
        "ΔW of full fine-tuning in 2 matrices. Energy in the first 1 / 8 / 16 / 32 directions: 25% / 50% / 75% / 100%. "
        "Mean slope of log σ over log j -0.75 (-1.00 to -0.50). Mean least relative error for k = 1 / 4: "
        "r = 8: 0.600 / 0.600. k = 1 is nearest in 1 at r = 8."
    )


def test_drift_and_output_error_are_bars_by_library() -> None:
    figure = plot_real_drift(DRIFT)
    assert [(trace.name, trace.y, trace.xaxis) for trace in figure.data] == [
        ("glora_lab", (0.0,), "x"),
        ("glora_lab", (0.2,), "x2"),
        ("stock PEFT", (0.02,), "x"),
        ("stock PEFT", (0.3,), "x2"),
    ]
    title = "After 100 cycles of merging in bfloat16: <b>every bit is back</b> with ours, drift 0.02 with stock PEFT's"
    assert figure.layout.title.text == title
    assert "GraLoRA k=4 by stock PEFT: drift 0.001 after 1 and 0.02 after 100 cycles" in describe_real_drift(DRIFT)
    assert still(json.loads(figure.to_json())).startswith("<svg")
    assert DRIFT.row("GraLoRA k=4", "stock PEFT").changed == 0.5
    with pytest.raises(ValueError, match=r"`method` \(='LoRA'\) by `by` \(='glora_lab'\) is not here; there are GraLo"):
        DRIFT.row("LoRA", "glora_lab")
    with pytest.raises(ValueError, match="must have at least one row"):
        plot_real_drift(RealDrift((), MADE))


def test_what_is_lost_is_infinite_and_no_bar() -> None:
    lost = replace(DRIFT.rows[1], drift={1: 0.1, 100: float("inf")}, merged=float("inf"))
    figure = plot_real_drift(replace(DRIFT, rows=(DRIFT.rows[0], lost)))
    assert figure.data[2].y == (None,) and figure.data[2].text == ("inf",)
    assert "drift inf with stock PEFT's" in figure.layout.title.text
