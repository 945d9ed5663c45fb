"""One ranking, by the validation part, in which a tie is a tie: what is marked, the headline and the words agree."""

from __future__ import annotations

import pytest

from glora_lab.figures import plot_training
from glora_lab.ideas.training.panel_run_table import run_table
from glora_lab.records import Ranking, Run, Step

TASK = "digits-turned"
ENDS = {"LoRA": 0.85, "GraLoRA": 0.82, "BitFit": 0.60}


def lines(ends: dict[str, float]) -> dict[str, tuple[Step, ...]]:
    return {name: (Step(1, 1.0, metric, 0.1),) for name, metric in ends.items()}


def rows(ends: dict[str, float], test: dict[str, float]) -> list[Run]:
    return [Run(n, 10, test[n], 1.0, validation=v, examples=200, task=TASK) for n, v in ends.items()]


def test_two_standard_errors_by_hand() -> None:
    ranking = Ranking({"a": 0.85}, 200)
    share = (0.85 * 200 + 2) / 204
    assert ranking.margin == pytest.approx(2 * (share * (1 - share) / 204) ** 0.5) == pytest.approx(0.0509, abs=1e-4)


def test_what_lies_within_the_margin_ties_and_what_lies_beyond_does_not() -> None:
    assert Ranking(ENDS, 200).leaders == ["LoRA", "GraLoRA"]
    assert Ranking(ENDS, 20_000).leaders == ["LoRA"]
    assert Ranking({"a": 0.60, "b": 0.85}, 200).leaders == ["b"]


def test_all_right_has_an_error_too() -> None:
    assert Ranking({"a": 1.0, "b": 0.99}, 200).leaders == ["a", "b"]
    assert Ranking({"a": 1.0, "b": 0.90}, 200).leaders == ["a"]


def test_without_a_count_what_a_whole_per_cent_hides_ties() -> None:
    assert Ranking({"a": 0.600, "b": 0.597, "c": 0.59}).leaders == ["a", "b"]
    assert Ranking({}).leaders == [] and Ranking({}).words == "" == Ranking({"a": 0.5}, 200).words


def test_the_words_say_the_finding_and_the_rule() -> None:
    assert Ranking(ENDS, 200).words == (
        "LoRA and GraLoRA tie with up to 85.0% of the validation part: they are within 5.1 points, two standard errors "
        "of 200 examples."
    )
    assert Ranking(ENDS, 20_000).words.startswith("LoRA leads with 85.0% of the validation part; nobody else is within")


@pytest.mark.parametrize(("examples", "leaders"), [(200, {"LoRA", "GraLoRA"}), (20_000, {"LoRA"})])
def test_table_headline_and_words_agree_whatever_the_test_part_says(examples: int, leaders: set[str]) -> None:
    test = {"LoRA": 0.70, "GraLoRA": 0.90, "BitFit": 0.95}
    title = plot_training(lines(ENDS), examples=examples).layout.title.text
    table = run_table(rows(ENDS, test), TASK, Ranking(ENDS, examples))
    assert {name for name in ENDS if f"<b>{name}</b>" in title} == leaders
    assert {row.split("</td>")[0].rpartition(">")[2] for row in table.split("<tr>") if "★" in row} == leaders
    assert ("tie" in title) == ("tie" in table) == (len(leaders) > 1)


def test_a_headline_names_three_and_counts_more() -> None:
    many = lines({f"run {n}": 0.8 for n in range(12)})
    assert plot_training(many, examples=200).layout.title.text == "12 runs tie with up to 80% of the validation part"


def test_runs_of_another_task_are_in_the_table_and_not_in_the_ranking() -> None:
    here, elsewhere = rows(ENDS, ENDS), Run("far", 1, 0.99, 1.0, validation=0.99, task="digits-inverted")
    table = run_table([*here, elsewhere], TASK, Ranking({run.name: run.validation or 0 for run in here}, 200))
    (row,) = (row for row in table.split("<tr>") if "far" in row)
    assert "★" not in row and "digits-inverted" in row


def test_a_name_cannot_inject_markup() -> None:
    assert "<script>" not in run_table([Run("<script>", 1, 0.5, 1.0)], TASK, Ranking({}))
