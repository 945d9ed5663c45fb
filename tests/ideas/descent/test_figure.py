"""Descents as lines on a log axis, the largest stable steps as bars, both in the methods' colours."""

from __future__ import annotations

import numpy as np
import pytest

from glora_lab.drawing.theme import METHOD_COLORS
from glora_lab.figures import describe_descent, describe_stable_step, plot_descent, plot_stable_step
from glora_lab.ideas.descent.figure import CEILING
from glora_lab.records import Descent, StableStep

LORA = Descent("LoRA", "sgd", 0.01, np.array([8.0, 4.0, 2.0]))
WILD = Descent("LoRA", "sgd", 0.02, np.array([8.0, 16.0, 8.0 * CEILING, np.inf]))
BLOCKS = Descent("GraLoRA", "adam", 0.02, np.array([8.0, 6.0, 1.0]))
STEPS = {
    "LoRA": StableStep("LoRA", 40, 0.01, (LORA, WILD)),
    "GraLoRA k=2": StableStep("GraLoRA", 40, 0.014, ()),
    "stock k=4": StableStep("stock GraLoRA", 40, 0.018, ()),
}


def test_a_line_a_descent_on_a_log_axis_in_its_methods_colour():
    figure = plot_descent({"LoRA": LORA, "faster": WILD, "blocks": BLOCKS})
    first, second, third = figure.data
    np.testing.assert_array_equal(first.y, [8, 4, 2])
    np.testing.assert_array_equal(first.x, [0, 1, 2])
    np.testing.assert_array_equal(second.y, [8, 16, np.nan, np.nan])  # what left the picture
    assert [line.line.color for line in (first, second, third)] == [
        METHOD_COLORS[m] for m in ("LoRA", "LoRA", "GraLoRA")
    ]
    assert [line.line.dash for line in (first, second, third)] == ["solid", "dot", "solid"]
    assert first.name == "LoRA, learning rate 0.01" and figure.layout.yaxis.type == "log"
    assert [shape.y0 for shape in figure.layout.shapes] == [8]
    (start,) = figure.layout.annotations
    assert (start.text, start.yref, start.y) == ("the first loss", "y", pytest.approx(np.log10(8)))


def test_the_titles_and_the_words_of_descents():
    assert plot_descent({"a": LORA, "b": BLOCKS}).layout.title.text == "The loss ends at 2 with a and 1 with b"
    assert plot_descent({"a": LORA, "<b>": WILD}).layout.title.text == (
        "The loss ends above its start with &lt;b&gt;, at 2 with a"
    )
    several = {"a": LORA, "b": BLOCKS, "c": Descent("LoRA", "sgd", 0.01, np.array([8.0, 1.5]))}
    assert plot_descent(several).layout.title.text == "The loss ends between 1 with b and 2 with a"
    assert plot_descent(WILD).layout.title.text == "The loss ends above its start with LoRA"
    assert describe_descent({"a": LORA, "b": WILD}) == (
        "a with SGD at learning rate 0.01: loss 8 at first, 2 after 2 steps; b with SGD at learning rate 0.02: "
        "loss 8 at first, not finite after 3 steps."
    )


def test_a_bar_for_each_largest_stable_step():
    (bars,) = plot_stable_step(STEPS).data
    assert (list(bars.x), list(bars.y)) == ([0.01, 0.014, 0.018], ["LoRA", "GraLoRA k=2", "stock k=4"])
    assert list(bars.marker.color) == [METHOD_COLORS["LoRA"], *[METHOD_COLORS["GraLoRA"]] * 2]
    assert bars.textposition == "outside"  # readable on either page, whatever the bar's colour
    assert list(bars.text) == ["0.01 (×1.00)", "0.014 (×1.40)", "0.018 (×1.80)"]
    assert plot_stable_step(STEPS).layout.title.text == "stock k=4 takes a stable step 1.80 times as large as LoRA's"
    assert describe_stable_step(STEPS) == (
        "Largest learning rate at which plain gradient descent never leaves the loss above its start: LoRA 0.01; "
        "GraLoRA k=2 0.014, 1.40 times LoRA's; stock k=4 0.018, 1.80 times LoRA's."
    )
    backwards = dict(reversed(STEPS.items()))
    assert plot_stable_step(backwards).layout.title.text == "stock k=4 takes the largest stable step"
    assert list(plot_stable_step(STEPS["LoRA"]).data[0].y) == ["LoRA"]


def test_nothing_is_refused():
    with pytest.raises(ValueError, match=r"`descents` \(=\{\}\) must be at least one"):
        plot_descent({})
    with pytest.raises(ValueError, match=r"`steps` \(=\{\}\) must be at least one"):
        describe_stable_step({})


def test_stability_is_of_every_loss_and_a_step_shows_itself_as_a_row():
    assert LORA.stable and not WILD.stable
    assert not Descent("LoRA", "sgd", 1.0, np.array([1.0, 2.0, 0.5])).stable
    assert not Descent("LoRA", "sgd", 1.0, np.array([1.0, np.nan])).stable
    assert LORA.final == 2
    assert STEPS["LoRA"].to_dicts() == [{"method": "LoRA", "steps": 40, "largest": 0.01, "tried": 2}]
