"""A guess as a reader makes it: the mark dragged, moved with the keys, one of several chosen, a text typed, waived.

What is held back is not in the page before: no node of it, hidden or covered.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.accessibility import serious_violations
from tests.browser.conftest import OpenNotebook
from tests.browser.notebook_page import NotebookPage
from tests.written_notebook import write_notebook

BEGIN = """\
from glora_lab import load_model, load_task, path_budget, predict, GloraConfig
from glora_lab.panels import BudgetPanel, Guess
budget = path_budget(load_model("digits-vit"), GloraConfig(r=4, target_modules=["fc1"]))
digits = Guess("How many of the eight?", between=(0, 8), unit="digits")
digits"""
PANEL = "panel = BudgetPanel()\ndigits.then(panel, budget, 'SECRET seven', answer=7)"
OTHERS = """\
size = Guess("How many parameters?", between=(1e3, 1e9), log=True)
path = Guess("Which path?", options=["A", "B", "C"])
letters = Guess("Which letters?")
lazy = Guess("How much?", between=(0, 1))
for guess in (size, path, letters, lazy):
    display(guess)"""
HELD = """\
size.then("SECRET size", answer=20_971_520)
path.then("SECRET path", answer="B")
letters.then("SECRET letters", answer="ADE")
lazy.then("SECRET lazy", answer=0.25)"""


DARK = 'window.jupyterapp.commands.execute("apputils:change-theme", { theme: "JupyterLab Dark" })'


@pytest.fixture
def notebook(open_notebook: OpenNotebook, tmp_path: Path) -> NotebookPage:
    opened = open_notebook(write_notebook(tmp_path / "guess.ipynb", BEGIN, PANEL, OTHERS, HELD))
    opened.page.set_viewport_size({"width": 1280, "height": 1500})
    opened.run_all(waive=False)
    return opened


def test_a_guess_is_made_in_every_way_and_nothing_is_in_the_page_before(notebook: NotebookPage) -> None:
    held_back(notebook)
    for width in (1280, 700):
        notebook.page.set_viewport_size({"width": width, "height": 1500})
        the_ticks_stand_under_the_slider(notebook)
    notebook.page.set_viewport_size({"width": 1280, "height": 1500})
    keeps_nobody_out(notebook, "before")
    drag(notebook)
    press_keys(notebook)
    choose(notebook)
    type_letters(notebook)
    waive(notebook)
    keeps_nobody_out(notebook, "after")
    assert notebook.errors() == []


def guess(notebook: NotebookPage, question: str) -> Locator:
    return notebook.page.locator(".glora-guess", has_text=question)


def outputs(notebook: NotebookPage) -> str:
    """All that the page holds below its cells, what cannot be seen included."""
    return notebook.page.evaluate("[...document.querySelectorAll('.jp-OutputArea')].map((e) => e.outerHTML).join()")


def held_back(notebook: NotebookPage) -> None:
    expect(notebook.page.locator(".glora-waits")).to_have_count(5)
    there = outputs(notebook)
    assert "SECRET" not in there and "js-plotly-plot" not in there and "glora-panel" not in there
    assert "20,971,520" not in there and "so it is" not in there


def the_ticks_stand_under_the_slider(notebook: NotebookPage) -> None:
    asked = guess(notebook, "How many of the eight?")
    track, ticks = asked.locator(".noUi-base").bounding_box(), asked.locator(".tick")
    first, last = ticks.first.bounding_box(), ticks.last.bounding_box()
    assert track and first and last
    assert [round(first["x"] - track["x"]), round(last["x"] - track["x"] - track["width"])] == pytest.approx(
        [0, 0], abs=2
    )
    assert 0 < first["y"] - track["y"] < 30
    for axis in notebook.page.locator(".glora-guess-axis").all():
        numbers = [number.bounding_box() for number in axis.locator(".number:visible").all()]
        assert all(
            one["x"] + one["width"] <= other["x"] for one, other in itertools.pairwise(numbers)
        )  # none on another


def drag(notebook: NotebookPage) -> None:
    """The mark, from the middle to the sixth tick."""
    asked, mouse = guess(notebook, "How many of the eight?"), notebook.page.mouse
    asked.locator(".noUi-handle").hover()  # which waits until it stands still
    mouse.down()
    handle, tick = asked.locator(".noUi-handle").bounding_box(), asked.locator(".tick").nth(6).bounding_box()
    assert handle and tick
    mouse.move(tick["x"], handle["y"] + handle["height"] / 2, steps=8)
    mouse.up()
    expect(asked.locator(".widget-readout")).to_have_text("6")
    asked.locator("button", has_text="This is my guess").click()
    expect(asked).to_contain_text("You guessed 6 digits; it is 7 digits.")
    marks = [asked.locator(f".{kind}").bounding_box() for kind in ("mark", "answer")]
    assert all(marks) and 0 < marks[1]["x"] - marks[0]["x"] < 100  # side by side on one axis
    notebook.sees("SECRET seven")
    notebook.page.locator(".glora-panel .js-plotly-plot").first.wait_for(state="attached")
    assert notebook.evaluate("[digits.value, digits.answer, digits.waived]") == [6, 7, False]
    assert asked.locator("button").count() == 0


def press_keys(notebook: NotebookPage) -> None:
    asked, keys = guess(notebook, "How many parameters?"), notebook.page.keyboard
    handle = asked.locator(".noUi-handle")
    assert handle.get_attribute("aria-label") == "How many parameters?"
    handle.focus()
    selected = notebook.page.evaluate("lab.panel().content.activeCellIndex")
    for _ in range(3):
        keys.press("ArrowRight")
    keys.press("End")
    keys.press("Enter")
    expect(asked).to_contain_text("You guessed 1,000,000,000; it is 20,971,520.")
    assert notebook.page.evaluate("lab.panel().content.activeCellIndex") == selected
    expect(asked.locator(".glora-guess-verdict")).to_be_focused()  # where the controls were
    notebook.sees("SECRET size")


def choose(notebook: NotebookPage) -> None:
    asked = guess(notebook, "Which path?")
    asked.locator("button", has_text="C").focus()
    notebook.page.keyboard.press("Enter")
    expect(asked).to_contain_text("B (✓ so it is)C (your guess)You guessed C; it is B.")
    notebook.sees("SECRET path")


def type_letters(notebook: NotebookPage) -> None:
    asked = guess(notebook, "Which letters?")
    asked.locator("input").fill("ade")
    asked.locator("input").press("Enter")
    expect(asked).to_contain_text("You guessed ade, and so it is.")
    notebook.sees("SECRET letters")


def waive(notebook: NotebookPage) -> None:
    asked = guess(notebook, "How much?")
    asked.locator("button", has_text="Show me without guessing").click()
    expect(asked).to_contain_text("It is 0.25.")
    notebook.sees("SECRET lazy")
    assert notebook.evaluate("[lazy.value, lazy.waived]") == [None, True]
    assert notebook.page.locator(".glora-waits").count() == 0


def keeps_nobody_out(notebook: NotebookPage, when: str) -> None:
    found = {"light": serious_violations(notebook, ".glora-guess")}
    notebook.screenshot(f"guess_{when}_light")
    notebook.page.evaluate(f"() => {{ {DARK} }}")
    notebook.until("document.body.dataset.jpThemeName === 'JupyterLab Dark'")
    found["dark"] = serious_violations(notebook, ".glora-guess")
    notebook.screenshot(f"guess_{when}_dark")
    notebook.page.evaluate(f"() => {{ {DARK.replace('Dark', 'Light')} }}")
    notebook.until("document.body.dataset.jpThemeName === 'JupyterLab Light'")
    assert found == {"light": [], "dark": []}
