"""Guess and answer on one axis, and in words that are kind and exact."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from glora_lab.ideas.guess.figure import draw_guess, guess_in_words, said, ticks
from glora_lab.records import Guessed

DIGITS = Guessed("How many?", between=(0, 8), unit="digits")
SHARE = Guessed("What share?", between=(0, 100), unit="%")
PATH = Guessed("Which path?", options=("A", "B & C", "E"))
OFF = "Where a guess is off there is something to learn: see why."


@pytest.mark.parametrize(
    "record, words",
    [
        (DIGITS, ""),
        (replace(DIGITS, answer=7), ""),
        (replace(DIGITS, value=0), "You guessed 0 digits. The answer comes below."),
        (replace(DIGITS, value=7, answer=7), "You guessed 7 digits, and so it is."),
        (replace(DIGITS, value=0, answer=7), f"You guessed 0 digits; it is 7 digits. {OFF}"),
        (replace(SHARE, value=50, answer=53.124), "You guessed 50%; it is 53.1%. Close."),
        (replace(SHARE, waived=True, answer=12.5), "It is 12.5%."),
        (replace(SHARE, waived=True), ""),
        (replace(PATH, value="E", answer="A"), f"You guessed E; it is A. {OFF}"),
        (Guessed("Letters?", value="ade", answer="ADE"), "You guessed ade, and so it is."),
    ],
)
def test_the_words_are_kind_and_exact(record: Guessed, words: str) -> None:
    assert guess_in_words(record) == words


@pytest.mark.parametrize(
    "value, unit, text",
    [
        (20_971_520, "", "20,971,520"),
        (0, "times", "0 times"),
        (-3.14159, "points", "-3.14 points"),
        (23.44, "%", "23.4%"),
        (2e-7, "", "2·10⁻⁷"),
        ("B", "", "B"),
    ],
)
def test_numbers_are_written_as_people_read_them(value: float | str, unit: str, text: str) -> None:
    assert said(value, unit) == text


@pytest.mark.parametrize(
    "between, log, marks",
    [
        ((0, 8), False, [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        ((0, 100), False, [0, 20, 40, 60, 80, 100]),
        ((0, 1), False, [0, 1]),
        ((0.0, 0.5), False, [0, 0.1, 0.2, 0.3, 0.4, 0.5]),
        ((-10, 40), False, [-10, 0, 10, 20, 30, 40]),
        ((1e3, 1e6), True, [1e3, 1e4, 1e5, 1e6]),
        ((1e-9, 1), True, [1e-9, 1e-7, 1e-5, 1e-3, 1e-1]),
    ],
)
def test_ticks_are_round_and_few(between: tuple[float, float], log: bool, marks: list[float]) -> None:
    assert ticks(Guessed("?", between=between, log=log)) == pytest.approx(marks)


def test_before_the_guess_the_picture_is_the_ticks_whatever_the_answer() -> None:
    drawn = draw_guess(DIGITS)
    assert drawn == draw_guess(replace(DIGITS, answer=7)) and drawn.count('class="tick"') == 9
    assert "mark" not in drawn and "answer" not in drawn
    assert draw_guess(PATH) == draw_guess(replace(PATH, answer="A")) == ""


def test_guess_and_answer_stand_on_one_axis() -> None:
    drawn = draw_guess(replace(DIGITS, value=2, answer=7))
    places = dict(re.findall(r'<span class="(mark|answer)" style="left:([\d.]+)%', drawn))
    assert places == {"mark": "25.00", "answer": "87.50"}
    assert "your guess: 2 digits" in drawn and "<b>it is 7 digits</b>" in drawn
    assert (
        f'<p role="status" tabindex="-1" class="glora-guess-verdict">You guessed 2 digits; it is 7 digits. {OFF}'
        in drawn
    )
    assert "mark" not in draw_guess(replace(DIGITS, waived=True, answer=7))


def test_of_several_the_chosen_and_the_right_one_are_told_apart_without_colour() -> None:
    drawn = draw_guess(replace(PATH, value="A", answer="B & C"))
    assert "A (your guess)" in drawn and "B &amp; C (✓ so it is)" in drawn and ">E<" in drawn
    assert "A (your guess, ✓ so it is)" in draw_guess(replace(PATH, value="A", answer="A"))
