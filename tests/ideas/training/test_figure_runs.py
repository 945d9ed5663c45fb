"""Runs stand at their parameters and accuracy, each name where it covers nothing, in the colour of what it is."""

from __future__ import annotations

from typing import Any

import pytest

from glora_lab.drawing.theme import METHOD_COLORS, PATH_COLORS
from glora_lab.figures import describe_runs, plot_runs
from glora_lab.records import Run, Step
from tests.ideas.literal import RUNS


def test_runs_stand_at_their_parameters_and_accuracy() -> None:
    probe, lora, both = plot_runs(RUNS).data
    assert (tuple(lora.x), tuple(lora.y)) == ((7000, 7000), (0.70, 0.76))
    assert (tuple(both.x), tuple(both.y)) == ((19000,), (0.75,))
    assert tuple(probe.customdata[0]) == (0, 1.0)


def test_a_name_stands_where_it_covers_nothing() -> None:
    close = [Run(name, 20_000 + n, 0.80 + n / 100, 1.0) for n, name in enumerate("abc")]
    apart = Run("far", 200, 0.2, 1.0)
    sides = [trace.textposition for trace in plot_runs([*close, apart]).data]
    assert len(set(sides[:3])) == 3 and sides[3] == "top center"


def test_a_name_below_a_line_of_seeds_hangs_on_its_lowest_point() -> None:
    seeds = [Run("seeds", 1000, metric, 1.0) for metric in (0.2, 0.5)]
    above = Run("a name above them all", 1000, 0.52, 1.0)
    line, _ = plot_runs([*seeds, above]).data
    assert (line.textposition, tuple(line.text)) == ("bottom center", ("seeds", ""))


@pytest.mark.parametrize(
    "name, color",
    [
        ("B rank 4 (LoRA)", PATH_COLORS["B"]),
        ("E vector (BitFit)", PATH_COLORS["E"]),
        ("A and B rank 4", METHOD_COLORS["GLoRA"]),
        ("A + B, rank 4", METHOD_COLORS["GLoRA"]),
        ("A, D, E vector (SSF)", METHOD_COLORS["GLoRA"]),
        ("all paths, rank 4", METHOD_COLORS["GLoRA"]),
        ("Turned digits: LoRA, rank 8 (2)", METHOD_COLORS["LoRA"]),
        ("GraLoRA, rank 8, k 4", METHOD_COLORS["GraLoRA"]),
        ("full fine-tuning", METHOD_COLORS["full fine-tuning"]),
        ("A lora, B lora and E vector, rank 4", METHOD_COLORS["GLoRA"]),
        ("B vector and E vector", METHOD_COLORS["GLoRA"]),
        ("(IA)³-like (A, D vector)", METHOD_COLORS["GLoRA"]),
        ("BitFit (E vector)", PATH_COLORS["E"]),
        ("every path is off", METHOD_COLORS["GLoRA"]),
    ],
)
def test_a_run_has_the_colour_of_its_path_or_method(name: str, color: str) -> None:
    (run,) = plot_runs([Run(name, 10, 0.5, 1.0)]).data
    assert run.marker.color == run.textfont.color == color


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


def ranked(test: dict[str, float], validation: dict[str, float], **of: Any) -> list[Run]:
    return [Run(name, 10, metric, 1.0, validation=validation[name], **of) for name, metric in test.items()]


def test_who_leads_is_asked_of_the_validation_part() -> None:
    runs = ranked({"a": 0.9, "b": 0.5, "c": 0.7}, {"a": 0.60, "b": 0.85, "c": 0.82}, examples=20_000)
    assert plot_runs(runs).layout.title.text == "<b>b</b> leads with 85% of the validation part"
    assert describe_runs(runs).startswith("Test accuracy: b 50.0% with 10 parameters; c 70.0% with 10 parameters; a ")
    tie = ranked({"a": 0.9, "b": 0.5, "c": 0.7}, {"a": 0.60, "b": 0.85, "c": 0.82}, examples=200)
    assert plot_runs(tie).layout.title.text == "<b>b</b> and <b>c</b> tie with up to 85% of the validation part"
    assert describe_runs(tie).endswith("they are within 5.1 points, two standard errors of 200 examples.")


def test_seeds_are_ranked_by_their_best_and_a_run_by_its_last_step() -> None:
    steps = {"a": (0.5, 0.7), "b": (0.9, 0.6)}
    runs = [
        Run(name, 10, 0.5, 1.0, (Step(1, 1.0, 0.99, 0.1), Step(2, 1.0, last, 0.1)), examples=20_000)
        for name, found in steps.items()
        for last in found
    ]
    assert plot_runs(runs).layout.title.text == "<b>b</b> leads with 90% of the validation part"


def test_where_the_validation_part_is_not_known_nobody_leads() -> None:
    assert plot_runs(RUNS).layout.title.text == "4 runs: 50.0% to 76.0% of the test part is right"
    assert plot_runs(RUNS[1:3]).layout.title.text == "<b>LoRA</b>: 70.0% to 76.0% of the test part is right"
    assert plot_runs([]).layout.title.text == "No run has finished yet"
    assert len(plot_runs([]).data) == 0


def test_in_words() -> None:
    assert describe_runs(RUNS) == (
        "Test accuracy: probe 50.0% with 0 parameters; LoRA 70.0% to 76.0% with 7,000 parameters; "
        "all paths 75.0% with 19,000 parameters."
    )
    assert describe_runs([]) == "No run has finished yet."
