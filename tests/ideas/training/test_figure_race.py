"""A race in words, its runs' colours, and who leads."""

from __future__ import annotations

import re

import pytest

from glora_lab.drawing.run_colors import run_colors
from glora_lab.drawing.theme import METHOD_COLORS
from glora_lab.figures import describe_low_rank_equation, describe_race, low_rank_equation, plot_training
from glora_lab.records import PathBudget, PathCount
from tests.drawing.test_equation import Terms
from tests.ideas.literal import STEPS


def budget(params: int) -> PathBudget:
    return PathBudget((PathCount("layer", "B", "lora", params),))


def test_equal_parameters_are_called_equal() -> None:
    assert describe_race({"LoRA, rank 4": budget(1200), "GLoRA A+B, rank 2": budget(1200)}) == (
        "LoRA, rank 4: 1,200 parameters; GLoRA A+B, rank 2: 1,200 parameters. The same number to the last one."
    )


def test_how_far_they_are_apart_is_in_per_cent_of_the_largest() -> None:
    words = describe_race({"a": budget(950), "b": budget(1000), "c": budget(990)})
    assert words.endswith("Not at equal parameters: a has 5.0% fewer than the largest.")


def test_two_per_cent_are_equal() -> None:
    assert describe_race({"a": budget(980), "b": budget(1000)}).endswith(
        "Equal within 2%: a has 2.0% fewer than the largest."
    )
    assert "Not at equal parameters" in describe_race({"a": budget(979), "b": budget(1000)})
    title = plot_training({"a": STEPS, "b": STEPS}, about="at equal parameters").layout.title.text
    assert title.endswith("of the validation part, at equal parameters")


@pytest.mark.parametrize("method", ["LoRA", "GLoRA", "GraLoRA"])
def test_a_run_has_the_colour_of_the_method_that_it_is_named_after(method: str) -> None:
    for name in (f"{method}, rank 4", f"{method} A+B, rank 2", f"Turned digits: {method}, rank 4 (2)", method):
        assert run_colors([name]) == {name: METHOD_COLORS[method]}


def test_a_second_run_of_a_method_is_told_apart_and_takes_nobodys_colour() -> None:
    names = ["LoRA, rank 4", "LoRA, rank 8", "GraLoRA, rank 4, k 2", "A + B, rank 2"]
    colors = run_colors(names)
    assert colors["LoRA, rank 4"] == METHOD_COLORS["LoRA"]
    assert colors["GraLoRA, rank 4, k 2"] == METHOD_COLORS["GraLoRA"]
    assert len(set(colors.values())) == 4


def test_a_tie_is_no_lead() -> None:
    assert "<b>a</b> and <b>b</b> tie with 60%" in plot_training({"a": STEPS, "b": STEPS}).layout.title.text
    assert "<b>a</b> leads with 60%" in plot_training({"a": STEPS, "b": STEPS[:1]}).layout.title.text


def test_loras_equation() -> None:
    terms = Terms(low_rank_equation("LoRA", r=6, scaling=0.5))
    assert terms.text == "Weff=W0+α/r0.5·B Arank 6" and terms.depth == 0
    assert terms.label == describe_low_rank_equation("LoRA", r=6, scaling=0.5)
    assert terms.label == "LoRA: W_eff = W0 + 0.5 · B A, a product of rank 6."


def test_graloras_equation_and_its_hybrids() -> None:
    plain = Terms(low_rank_equation("GraLoRA", r=8, scaling=1, k=4))
    assert plain.text == "Weff=W0+α/r1·[ Bmn AmnT ]4 × 4 blocks of rank 2" and plain.depth == 0
    hybrid = Terms(low_rank_equation("GraLoRA", r=8, scaling=1, k=4, hybrid_r=3))
    assert hybrid.text == "Weff=W0+α/(r + h)1·([ Bmn AmnT ]4 × 4 blocks of rank 2+B Arank 3)"
    assert hybrid.label.endswith("4 × 4 blocks B_mn A_mnᵀ of rank 2 each, and a LoRA of rank 3 beside them.")
    assert "rank 4/3" in low_rank_equation("GraLoRA", r=4, scaling=1, k=3)


@pytest.mark.parametrize("method", ["LoRA", "GraLoRA"])
def test_the_factors_have_the_methods_colour(method: str) -> None:
    color = METHOD_COLORS[method][1:].lower()  # a shade of it for each page
    assert re.search(rf'<b style="color:var\(--glora-{color}, ', low_rank_equation(method, r=4, scaling=1))
