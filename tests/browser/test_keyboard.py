"""The first notebook with the keyboard alone: cells run, a guess made, a path changed, a run started, stopped."""

from __future__ import annotations

from tests.browser.conftest import OpenNotebook
from tests.browser.notebook_page import NotebookPage
from tests.source import ROOT

NUMBERED = "[...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].filter(p => /[0-9]/.test(p.innerText))"


def test_the_first_notebook_is_gone_through_with_the_keyboard_alone(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook(ROOT / "notebooks/00_start_here.ipynb")
    keys = notebook.page.keyboard
    notebook.page.locator(".jp-Notebook").first.focus()
    code = notebook.page.locator(".jp-CodeCell").count()
    for _ in range(notebook.page.locator(".jp-Cell").count()):
        keys.press("Shift+Enter")  # the last one adds an empty cell, which has no number
    notebook.until(f"{NUMBERED}.length === {code}")
    assert notebook.evaluate("lab.runs[-1].metric - frozen.accuracy") > 0.4

    go_to_cell(notebook, "PathPanel(")
    tab_to(notebook, 'e.matches("button.widget-toggle-button") && e.innerText === "vector"')  # the first: path A
    keys.press("Space")
    notebook.becomes("paths.config.config_A", "vector")
    tab_to(notebook, 'e.getAttribute("aria-label") === "rank" && e.matches(".noUi-handle")')
    notebook.evaluate("setattr(lab.controls.steps, 'value', 10_000)")  # so that it does not end before Stop is reached
    go_to_cell(notebook, "Guess(")
    tab_to(notebook, 'e.matches(".glora-guess .noUi-handle")')
    for key in ("Home", "ArrowRight", "ArrowRight", "Enter"):
        keys.press(key)
    notebook.becomes("guess.value", 2)
    go_to_cell(notebook, "TrainPanel(", "ArrowDown")
    tab_to(notebook, 'e.matches("button.jupyter-button") && e.innerText.includes("Train")')
    keys.press("Enter")
    notebook.sees("running: step")
    tab_to(notebook, 'e.matches("button.jupyter-button") && e.innerText.includes("Stop")')
    keys.press("Space")
    notebook.until("/stopped: step/.test(document.body.innerText)")
    notebook.becomes("len(lab.runs)", 2)
    assert notebook.errors() == []


def go_to_cell(notebook: NotebookPage, text: str, arrow: str = "ArrowUp") -> None:
    """Leave the cell that is worked in and select another, as JupyterLab's keys do."""
    active = notebook.page.locator(".jp-Cell.jp-mod-active .jp-InputArea")
    notebook.page.keyboard.press("Escape")
    tab_to(notebook, 'e.matches(".jp-Cell, .jp-Notebook")', key="Shift+Tab", already=True)  # out of a panel
    for _ in range(notebook.page.locator(".jp-Cell").count()):
        if text in active.inner_text():
            return
        notebook.page.keyboard.press(arrow)
    raise AssertionError(f"{arrow} does not lead to the cell with {text}")


def tab_to(notebook: NotebookPage, is_it: str, *, key: str = "Tab", already: bool = False, most: int = 150) -> None:
    """Press Tab until the element that has the focus is the one that is meant; it may be that already."""
    for press in range(most):
        if press or not already:
            notebook.page.keyboard.press(key)
        if notebook.page.evaluate(f"() => {{ const e = document.activeElement; return Boolean({is_it}); }}"):
            return
    raise AssertionError(f"{most} presses of {key} do not lead to {is_it}")
