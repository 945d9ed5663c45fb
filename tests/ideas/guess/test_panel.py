"""Guess: what it takes for a guess, what it holds back, and that it comes back from its state."""

from __future__ import annotations

import json
from typing import Any
from unittest import mock

import ipywidgets as widgets
import pytest

from glora_lab.ideas.guess import panel
from glora_lab.page import unattended as attended
from glora_lab.page.closing import tree
from glora_lab.page.unattended import STATIC
from glora_lab.panels import Guess
from glora_lab.records import Cost, CostReport
from tests.page.driving import press, send
from tests.page.instances import INSTANCES

REPORT = CostReport((Cost("LoRA", "LoRA", 10, 1, 2048, 3, 12, 1.0),), model="tiny")
DIGITS = {"between": (0, 8), "unit": "digits"}


@pytest.fixture(autouse=True)
def a_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody is there, who can answer."""
    monkeypatch.setattr(panel, "unattended", lambda: False)


def button(guess: Guess, words: str) -> widgets.Button:
    (found,) = (w for w in tree(guess) if isinstance(w, widgets.Button) and w.description == words)
    return found


def shown(guess: Guess, *what: Any, **answer: Any) -> list[Any]:
    """What `then` displays."""
    with mock.patch("glora_lab.ideas.guess.panel.display") as display:
        guess.then(*what, **answer)
    return [call.args[0] for call in display.call_args_list]


def words_of(widget: widgets.Widget) -> str:
    """All the text in a widget, figures included."""
    return " ".join(str(getattr(w, "value", "")) + str(getattr(w, "outputs", "")) for w in tree(widget))


def test_a_number_is_guessed_with_the_slider_and_the_button() -> None:
    guess = Guess("How many?", **DIGITS)
    (slider,) = (w for w in tree(guess) if isinstance(w, widgets.IntSlider))
    send(slider, value=6)
    assert guess.value is None and not guess.record.decided  # a mark that is moved is no guess yet
    press(button(guess, "This is my guess"))
    assert (guess.value, guess.waived) == (6, False)
    guess.answer = 7
    assert "You guessed 6 digits; it is 7 digits." in words_of(guess)
    guess.value = 7
    guess.waive()
    assert (guess.value, guess.waived) == (6, False)  # the first counts


def test_a_logarithmic_guess_is_a_round_number() -> None:
    guess = Guess("How many?", between=(1e3, 1e9), log=True)
    (slider,) = (w for w in tree(guess) if isinstance(w, widgets.FloatLogSlider))
    send(slider, value=1_234_567.0)
    press(button(guess, "This is my guess"))
    assert guess.value == 1_200_000


def test_the_last_place_of_the_mark_counts_where_the_page_sends_it_late() -> None:
    guess = Guess("How many?", **DIGITS)
    (slider,) = (w for w in tree(guess) if isinstance(w, widgets.IntSlider))
    loop = mock.Mock()
    with mock.patch("glora_lab.ideas.guess.panel.running_loop", return_value=loop):
        press(button(guess, "This is my guess"))
    send(slider, value=8)
    seconds, then, *of = loop.call_later.call_args.args
    assert guess.value is None and 0 < seconds < 1
    then(*of)
    assert guess.value == 8


def test_a_choice_is_a_guess() -> None:
    guess = Guess("Which?", options=["A", "B", "C"])
    (choice,) = (w for w in tree(guess) if isinstance(w, widgets.ToggleButtons))
    assert choice.value is None
    send(choice, index=2)
    assert guess.value == "C"


def test_a_text_is_a_guess_when_enter_is_pressed_and_nothing_is_none() -> None:
    guess = Guess("Which letters?")
    (field,) = (w for w in tree(guess) if isinstance(w, widgets.Text))
    field._handle_custom_msg({"event": "submit"}, [])
    assert guess.value is None
    send(field, value=" ADE ")
    field._handle_custom_msg({"event": "submit"}, [])
    assert guess.value == "ADE"


@pytest.mark.parametrize("how", ["guess", "waive"])
def test_what_is_held_back_is_nowhere_until_then(how: str) -> None:
    guess, held = Guess("How many?", **DIGITS), widgets.HTML("SECRET panel")
    (place,) = shown(guess, held, REPORT, "SECRET words", answer=7)
    assert held not in tree(place) and place.comm is not None
    assert "How many?" in words_of(place) and "SECRET" not in words_of(place) + words_of(guess)
    assert "2 KiB" not in words_of(place) and "7 digits" not in words_of(guess)
    press(button(guess, "Show me without guessing")) if how == "waive" else setattr(guess, "value", 3)
    assert held in place.children
    assert "SECRET words" in words_of(place) and "2 KiB kept for backward" in words_of(place)
    assert "waits" not in words_of(place) and "7 digits" in words_of(guess)
    assert not [w for w in tree(guess) if isinstance(w, widgets.Button)]


def test_what_comes_after_the_guess_is_shown_at_once() -> None:
    guess, held = Guess("How many?", **DIGITS), widgets.HTML("a panel")
    guess.value = 3
    first, picture, words, text = shown(guess, held, REPORT, "words")
    assert first is held and "image/svg+xml" in picture and "2 KiB" in words["text/html"]
    assert text == {"text/plain": "words"}


def test_a_cell_that_is_run_again_has_a_place_of_its_own_and_a_closed_one_is_left_alone() -> None:
    guess, held = Guess("How many?", **DIGITS), widgets.HTML("a panel")
    ((first,), (second,)) = shown(guess, held), shown(guess, held)
    first.close()
    guess.value = 3
    assert second.children == (held,) and held not in first.children


def test_nobody_is_asked_where_nobody_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panel, "unattended", lambda: True)
    guess, held = Guess("How many?", **DIGITS), widgets.HTML("a panel")
    assert (guess.value, guess.waived) == (None, True)
    assert shown(guess, held, answer=7) == [held] and "It is 7 digits." in words_of(guess)


@pytest.mark.parametrize(
    "stdin, environment, nobody",
    [
        (None, {}, True),  # a script
        (True, {}, False),  # JupyterLab
        (False, {}, True),  # nbmake, nbconvert
        (True, {STATIC: "1"}, True),
        (False, {"SERVER_SOFTWARE": "voila/0.5"}, False),  # its reader comes afterwards
        (False, {"COLAB_RELEASE_TAG": "x"}, False),
    ],
)
def test_who_is_there(
    monkeypatch: pytest.MonkeyPatch, stdin: bool | None, environment: dict[str, str], nobody: bool
) -> None:
    for name in (STATIC, "SERVER_SOFTWARE", "COLAB_RELEASE_TAG", "COLAB_NOTEBOOK_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    shell = None if stdin is None else mock.Mock(kernel=mock.Mock(_allow_stdin=stdin))
    monkeypatch.setattr(attended, "get_ipython", lambda: shell)
    assert attended.unattended() is nobody


GUESSES = [
    ({"between": (0, 8), "unit": "digits"}, 6, 7),
    ({"between": (1e-9, 1.0), "log": True}, 1e-6, 2e-7),
    ({"options": ["A", "B"]}, "A", "B"),
    ({}, "AE", "ADE"),
]


@pytest.mark.parametrize("settings, value, answer", GUESSES)
def test_the_state_is_json_and_makes_the_same_again(settings: dict[str, Any], value: Any, answer: Any) -> None:
    fresh, made, lazy = (Guess("How much?", **settings) for _ in range(3))
    made.value, made.answer = value, answer
    lazy.waive()
    for guess in (fresh, made, lazy):
        state = json.loads(json.dumps(guess.state))
        again = Guess.from_state(state)
        assert again.record == guess.record and again.state == guess.state
        assert again._verdict.value == guess._verdict.value
    assert made.state["panel"] == "Guess" and made.state["made"]["question"] == "How much?"
    assert made.state["value"] == value and made.state["answer"] == answer


REFUSED = [
    (lambda: Guess("How many?", between=(8, 0)), r"`between` \(=\(8, 0\)\) must rise"),
    (lambda: Guess("How many?", between=(0, 8), log=True), "must rise, from above 0 on a `log` axis"),
    (lambda: Guess("How many?", between=(0, "x")), r"`between` \(='x'\) must be a finite number"),
    (lambda: Guess("Which?", options=["A"]), "`options` .* must be at least two texts"),
    (lambda: Guess("Which?", options=["A", "B"], between=(0, 1)), "must be left out where there are `options`"),
    (lambda: Guess(""), "`question` .* must be a text"),
    (lambda: setattr(Guess("How many?", between=(0, 8)), "value", 9), r"`value` \(=9\) must be between 0 and 8"),
    (lambda: setattr(Guess("Which?", options=["A", "B"]), "value", "C"), "`value` .* must be one of 'A', 'B'"),
    (lambda: setattr(Guess("How many?", between=(0, 8)), "answer", "many"), "`answer` .* must be a finite number"),
    (lambda: setattr(Guess("Which?", options=["A", "B"]), "answer", 3), "`answer` .* must be a text"),
    (lambda: Guess.from_state({"made": {"question": "?"}, "guess": 3}), r"`guess` \(=3\) is not of a Guess's state"),
    (lambda: Guess.from_state({"panel": "PathPanel"}), r"`panel` \(='PathPanel'\) is not of a Guess's state"),
    (lambda: Guess.from_state({"version": 9, "made": {"question": "?"}}), r"`version` \(=9\) is not"),
    (lambda: Guess.from_state({"made": {"q": "?"}}), "`made` .* is not what Guess can be made with"),
    (lambda: Guess.from_state({"made": {"question": "?", "between": [0, 8]}, "value": 9}), "must be between 0 and 8"),
    (lambda: Guess("How many?", between=(0, 8)).then(3), "has no picture"),
]


@pytest.mark.parametrize("asked, words", REFUSED)
def test_what_cannot_be_is_refused_in_words(asked: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        asked()


def test_nothing_is_left_of_a_closed_guess() -> None:
    before = set(INSTANCES)
    for settings in (DIGITS, {"options": ["A", "B"]}, {}):
        guess = Guess("How many?", **settings)
        assert set(INSTANCES) - before
        guess.close()
        assert set(INSTANCES) - before == set()
