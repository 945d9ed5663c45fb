"""Curves and comparisons: every point is a record's, nothing is smoothed, averaged or invented."""

from __future__ import annotations

import pytest

from glora_lab.figures import describe_runs, describe_training, plot_runs, plot_training
from glora_lab.figures.theme import METHOD_COLORS, PATH_COLORS
from glora_lab.records import Run
from tests.figures.literal import RUNS, STEPS


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


def test_runs_stand_at_their_parameters_and_accuracy() -> None:
    probe, lora, both = plot_runs(RUNS).data
    assert (tuple(lora.x), tuple(lora.y)) == ((7000, 7000), (0.70, 0.76))
    assert (tuple(both.x), tuple(both.y)) == ((19000,), (0.75,))
    assert tuple(probe.customdata[0]) == (0, 1.0)


def test_names_of_neighbours_stand_on_different_sides() -> None:
    close = [Run(name, 20_000 + n, 0.80 + n / 100, 1.0) for n, name in enumerate("abc")]
    apart = Run("far", 200, 0.2, 1.0)
    sides = [trace.textposition for trace in plot_runs([*close, apart]).data]
    assert sides == ["top center", "bottom center", "middle right", "top center"]


def test_seeds_of_one_name_are_joined_and_labelled_once() -> None:
    _, lora, both = plot_runs(RUNS).data
    assert lora.mode == "lines+markers+text" and tuple(lora.text) == ("", "LoRA")
    assert both.mode == "markers+text" and tuple(both.text) == ("all paths",)
    assert lora.marker.color == METHOD_COLORS["LoRA"]


def test_no_parameters_have_a_place_on_the_log_axis_that_says_zero() -> None:
    figure = plot_runs(RUNS)
    axis = figure.layout.xaxis
    marks = dict(zip(axis.tickvals, axis.ticktext, strict=True))
    assert axis.type == "log" and marks[700.0] == "0" and marks[10000] == "10,000"
    assert tuple(figure.data[0].x) == (700.0,)
    assert min(marks) == 700.0  # no tick below claims less than none
    assert "0" not in plot_runs(RUNS[1:]).layout.xaxis.ticktext


def test_run_titles_say_the_finding() -> None:
    assert plot_runs(RUNS).layout.title.text == "<b>LoRA</b> is the most accurate: 76.0% with 7,000 parameters"
    assert plot_runs([]).layout.title.text == "No run has finished yet"
    assert len(plot_runs([]).data) == 0


def test_in_words() -> None:
    assert describe_training(STEPS) == (
        "this run: after 3 steps (0.3 s) the loss went from 2.50 to 1.00, the validation accuracy from 20% to 60%."
    )
    assert describe_training({"a": []}) == "a: no step yet."
    assert describe_runs(RUNS[:2]) == (
        "Test accuracy: LoRA 70.0% with 7,000 parameters; probe 50.0% with 0 parameters."
    )
    assert describe_runs([]) == "No run has finished yet."
