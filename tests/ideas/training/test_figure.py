"""Curves and comparisons: every point is a record's, nothing is smoothed, averaged or invented."""

from __future__ import annotations

import pytest

from glora_lab.drawing.theme import METHOD_COLORS, PATH_COLORS
from glora_lab.figures import describe_training, plot_training
from tests.ideas.literal import STEPS


def test_loss_is_every_batch_and_accuracy_only_where_measured() -> None:
    loss, accuracy = plot_training(STEPS).data
    assert (tuple(loss.x), tuple(loss.y)) == ((1, 2, 3), (2.5, 2.0, 1.0))
    assert (tuple(accuracy.x), tuple(accuracy.y)) == ((1, 3), (0.2, 0.6))
    assert (accuracy.xaxis, accuracy.yaxis) == ("x2", "y2")


def test_several_runs_have_a_colour_each_in_both_pictures_and_one_legend_entry() -> None:
    figure = plot_training({"LoRA": STEPS, "A": STEPS[:1], "mine": STEPS})
    assert [trace.line.color for trace in figure.data[:4]] == [METHOD_COLORS["LoRA"]] * 2 + [PATH_COLORS["A"]] * 2
    assert len({trace.line.color for trace in figure.data}) == 3
    assert [trace.name for trace in figure.data if trace.showlegend] == ["LoRA", "A", "mine"]
    assert not any(trace.showlegend for trace in plot_training(STEPS).data)


def test_the_axis_does_not_move_while_a_run_of_known_length_trains() -> None:
    assert plot_training(STEPS, total=100).layout.xaxis.range == plot_training(STEPS[:1], total=100).layout.xaxis.range
    assert plot_training(STEPS).layout.xaxis.range[1] == pytest.approx(3.06)
    assert plot_training(STEPS).layout.yaxis2.range == (0, 1.03)


def test_training_titles_say_the_finding() -> None:
    assert plot_training(STEPS).layout.title.text == (
        "After 3 steps the loss is 1.00, <b>60%</b> of the validation part is right"
    )
    assert plot_training({"a": STEPS[:1], "<b>": STEPS}).layout.title.text.startswith("<b>&lt;b&gt;</b> leads with 60%")
    assert plot_training([]).layout.title.text == plot_training({}).layout.title.text == "No step yet"


def test_one_step_is_a_point() -> None:
    loss, _ = plot_training(STEPS[:1]).data
    assert loss.mode == "markers" and "After 1 step " in plot_training(STEPS[:1]).layout.title.text


def test_in_words() -> None:
    assert describe_training(STEPS) == (
        "this run: after 3 steps (0.3 s) the loss went from 2.50 to 1.00, the validation accuracy from 20% to 60%."
    )
    assert describe_training({"a": []}) == "a: no step yet."
