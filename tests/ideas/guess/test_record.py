"""Where numbers stand on an axis, and what counts as decided."""

from __future__ import annotations

import pytest

from glora_lab.records import Guessed

NUMBER = Guessed("How many?", between=(0, 8))
SIZE = Guessed("How large?", between=(1e3, 1e9), log=True)


@pytest.mark.parametrize("number, place", [(0, 0), (2, 0.25), (8, 1), (-3, 0), (100, 1)])
def test_a_number_stands_where_it_belongs_and_never_beside_the_axis(number: float, place: float) -> None:
    assert NUMBER.place(number) == place


@pytest.mark.parametrize("number, place", [(1e3, 0), (1e6, 0.5), (1e9, 1), (0, 0), (1e12, 1)])
def test_on_a_logarithmic_axis_too(number: float, place: float) -> None:
    assert SIZE.place(number) == pytest.approx(place)


def test_a_guess_or_a_waiver_decides_and_the_answer_does_not() -> None:
    assert not Guessed("?", answer="B").decided
    assert Guessed("?", value="B").decided and Guessed("?", waived=True).decided
    assert Guessed("?", between=(0, 8), value=0).decided  # nought is a guess
