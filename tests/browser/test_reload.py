"""A page that is loaded anew: the panels come back while their kernel lives, and until then, or after its end, their
last pictures stand in their places with one button that makes them anew.

RELOADS=10 has the page loaded ten times; three are enough to see that it works.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.all_panels import PANELS
from tests.browser.conftest import OpenNotebook
from tests.written_notebook import write_notebook

BEGIN = "from glora_lab import panels"
FOUR = {name: PANELS[name] for name in ("PathPanel", "BudgetPanel", "TrainPanel", "ReachPanel")}
STILL = "[...document.querySelectorAll('.glora-still')].filter(still => still.offsetParent)"
BACK = "[...document.querySelectorAll('.glora-panel')].filter(panel => panel.querySelector('.main-svg'))"


def notebook_of(folder: Path, calls: dict[str, str]) -> Path:
    return write_notebook(folder / "panels.ipynb", BEGIN, *[f"{name} = {call}\n{name}" for name, call in calls.items()])


def test_four_panels_come_back_whenever_the_page_is_loaded_anew(open_notebook: OpenNotebook, tmp_path: Path) -> None:
    """Saved before or not: the second time the notebook in the page is ahead of the one on the disk."""
    notebook = open_notebook(notebook_of(tmp_path, FOUR))
    notebook.run_all()
    notebook.until(f"{BACK}.length === 4")
    notebook.page.evaluate("lab.save()")
    notebook.until("lab.saved")
    stills, panels = [], []
    for n in range(int(os.environ.get("RELOADS", "3"))):
        rank = 3 + n % 5
        assert notebook.evaluate(f"setattr(PathPanel.rank, 'value', {rank}) or PathPanel.rank.value") == rank
        if n % 2 == 0:
            notebook.page.evaluate("lab.save()")
            notebook.until("lab.saved")
        began = time.monotonic()
        notebook.page.reload()
        notebook.until(f"{STILL}.length + {BACK}.length >= 4")
        stills.append(time.monotonic() - began)
        notebook.until(f"{BACK}.length === 4 && !{STILL}.length")
        panels.append(time.monotonic() - began)
        notebook.attach()
        assert notebook.evaluate("PathPanel.rank.value") == rank
    notebook.tell_times("reload to four last pictures", stills)
    notebook.tell_times("reload to four panels", panels)
    assert len(panels) >= 3


def test_after_the_kernels_end_the_last_pictures_stay_and_a_button_makes_the_panel_anew(
    open_notebook: OpenNotebook, tmp_path: Path
) -> None:
    notebook = open_notebook(notebook_of(tmp_path, {"ReachPanel": PANELS["ReachPanel"]}))
    notebook.run_all()
    notebook.until(f"{BACK}.length === 1")
    says = notebook.evaluate("setattr(ReachPanel.rank, 'index', 0) or ReachPanel.pictured()[0].picture.words")
    notebook.until(f"document.querySelector('.glora-still').textContent.includes({says!r})")  # it has followed
    notebook.page.evaluate("lab.save()")
    notebook.until("lab.saved")
    notebook.page.evaluate("lab.shutDown()")
    notebook.until("lab.down")
    drawn = notebook.page.locator(".glora-panel .main-svg").first
    expect(drawn).to_be_visible()
    notebook.page.reload()
    notebook.attach()
    notebook.until(f"{STILL}.length === 1")
    shown = notebook.page.locator(".glora-still")
    expect(shown).to_contain_text(says)
    picture = notebook.pixels(shown.locator("img").first)
    assert picture.std() > 5  # something is drawn
    notebook.screenshot("last_picture", shown)
    notebook.page.locator(".glora-still button").focus()
    notebook.page.keyboard.press("Enter")
    notebook.until(f"{BACK}.length === 1 && !{STILL}.length")
    assert notebook.evaluate("ReachPanel.rank.value") == 16  # a new one
