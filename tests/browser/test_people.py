"""The panels for people: with a keyboard alone, with a screen reader, on a dark page.

Set PANEL_PICTURES to a folder to have the README's pictures of the panels taken: `make pictures`.
"""

from __future__ import annotations

import os
from pathlib import Path

from glora_lab import panels
from tests.browser.accessibility import serious_violations
from tests.browser.all_panels import PANELS, all_panels
from tests.browser.conftest import OpenNotebook
from tests.browser.notebook_page import NotebookPage
from tests.source import ROOT

NUMBERED = "[...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].filter(p => /[0-9]/.test(p.innerText))"
DARK = 'window.jupyterapp.commands.execute("apputils:change-theme", { theme: "JupyterLab Dark" })'


def test_no_panel_keeps_anybody_out_on_a_light_page_and_on_a_dark_one(
    open_notebook: OpenNotebook, tmp_path: Path
) -> None:
    assert set(PANELS) == {name for name in panels.__all__ if name.endswith("Panel")} - {"Panel"}
    notebook = open_notebook(all_panels(tmp_path))
    notebook.run_all()
    notebook.until(f"document.querySelectorAll('.glora-panel').length === {len(PANELS)}")
    take_pictures(notebook, "light")
    found = {"light": serious_violations(notebook, ".glora-panel")}
    notebook.page.evaluate(f"() => {{ {DARK} }}")
    notebook.until("document.body.dataset.jpThemeName === 'JupyterLab Dark'")
    found["dark"] = serious_violations(notebook, ".glora-panel")
    take_pictures(notebook, "dark")
    assert found == {"light": [], "dark": []}, "\n".join(sorted({*found["light"], *found["dark"]}))
    assert notebook.errors() == []


def take_pictures(notebook: NotebookPage, theme: str) -> None:
    """One of each panel in test-results/; the light ones for the README too, where it wants them."""
    notebook.page.set_viewport_size({"width": 1280, "height": 1500})  # so that the tallest panel is seen whole
    for name in PANELS:
        panel = notebook.page.locator(".jp-CodeCell", has_text=f"{name} = ").locator(".glora-panel")
        panel.scroll_into_view_if_needed()
        notebook.page.wait_for_timeout(300)
        picture = notebook.screenshot(f"{theme}_{name}", panel)
        if theme == "light" and (wanted := os.environ.get("PANEL_PICTURES")):
            (Path(wanted) / f"{name}.png").write_bytes(notebook.shrunk(picture.read_bytes(), 0.6))


def test_the_first_notebook_is_gone_through_with_the_keyboard_alone(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook(ROOT / "notebooks/00_start_here.ipynb")
    keys = notebook.page.keyboard
    notebook.page.locator(".jp-Notebook").first.focus()
    code = notebook.page.locator(".jp-CodeCell").count()
    for _ in range(notebook.page.locator(".jp-Cell").count()):
        keys.press("Shift+Enter")  # the last one adds an empty cell, which has no number
    notebook.until(f"{NUMBERED}.length === {code}", 180)
    assert notebook.evaluate("lab.runs[-1].metric - frozen.accuracy") > 0.4

    go_to_cell(notebook, "PathPanel(")
    tab_to(notebook, 'e.matches("button.widget-toggle-button") && e.innerText === "vector"')  # the first: path A
    keys.press("Space")
    assert notebook.evaluate("paths.config.config_A") == "vector"
    tab_to(notebook, 'e.getAttribute("aria-label") === "rank" && e.matches(".noUi-handle")')
    go_to_cell(notebook, "TrainPanel(", "ArrowDown")
    tab_to(notebook, 'e.matches("button.jupyter-button") && e.innerText.includes("Train")')
    keys.press("Enter")
    notebook.sees("running: step")
    tab_to(notebook, 'e.matches("button.jupyter-button") && e.innerText.includes("Stop")')
    keys.press("Space")
    notebook.until("/(stopped|done): step/.test(document.body.innerText)")
    assert notebook.evaluate("len(lab.runs)") == 2
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
