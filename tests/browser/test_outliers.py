"""OutlierPanel in a real browser: a layer is clicked, the keys lead on, the menu and an undo go with them; minilm too.

At every size and in either theme nothing of it is cut or lies over anything: test_all_panels asks that.
"""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect

from tests.browser import layout
from tests.browser.accessibility import faint_texts, serious_violations
from tests.browser.conftest import OpenNotebook
from tests.browser.notebook_page import NotebookPage
from tests.written_notebook import write_notebook

PANEL = """\
import torch
from glora_lab.panels import OutlierPanel, check_panels
torch.set_num_threads(1)
lab = OutlierPanel({})
lab"""
CELL = ".glora-atlas-cell[data-layer='{}']"
FOCUSED = "Number(document.activeElement.dataset.layer)"
SHOWN = "lab.reports['LoRA'].layer == lab.map.menu.value == lab.map.menu.options[{}]"


def test_a_layer_is_chosen_by_a_click_by_the_keys_and_by_its_name(open_notebook: OpenNotebook, tmp_path: Path) -> None:
    notebook = open_notebook(write_notebook(tmp_path / "outliers.ipynb", PANEL.format("")))
    notebook.run_all()
    notebook.until("document.querySelectorAll('.js-plotly-plot .main-svg').length > 0")
    notebook.page.locator(CELL.format(5)).first.click()
    notebook.becomes(SHOWN.format(5), True)
    framed = notebook.page.locator(".glora-atlas-cell[aria-selected=true]")
    expect(framed).to_have_count(2)  # the same layer in both maps
    notebook.page.keyboard.press("ArrowDown")
    notebook.becomes(SHOWN.format(11), True)
    assert notebook.page.evaluate(FOCUSED) == 11
    notebook.page.keyboard.press("Home")
    notebook.becomes(SHOWN.format(6), True)
    notebook.page.keyboard.press("PageDown")
    notebook.becomes(SHOWN.format(12), True)  # the classifier stands apart: there is no layer below the queries
    notebook.choose("layer", "classifier")
    notebook.becomes("lab.map.chooser.chosen", 18)
    notebook.sees("must divide the 64 inputs and 10 outputs of classifier")
    expect(notebook.page.locator(CELL.format(18)).first).to_have_attribute("aria-selected", "true")
    notebook.page.locator(".glora-undo").first.click()
    notebook.becomes(SHOWN.format(12), True)
    notebook.becomes("[lab.errors, check_panels()]", [[], None])
    assert notebook.errors() == []


def test_minilm_is_seen_whole_wide_and_narrow_light_and_dark(open_notebook: OpenNotebook, tmp_path: Path) -> None:
    notebook = open_notebook(write_notebook(tmp_path / "minilm.ipynb", PANEL.format("'minilm', rank=64")))
    notebook.run_all()
    notebook.until("document.querySelectorAll('.js-plotly-plot .main-svg').length > 0")
    found = {}
    for theme in ("Dark", "Light"):
        layout.change_theme(notebook, theme)
        for width, height in (layout.SMALL, (700, 800), (600, 800)):
            layout.resize(notebook, width, height)
            problems = layout.faults(notebook, ["OutlierPanel"])
            problems += [*serious_violations(notebook, ".glora-panel"), *faint_texts(notebook, ".glora-panel")]
            problems += layout.unseen(notebook, ["OutlierPanel"]) if (width, height) == layout.SMALL else []
            look_at(notebook, f"{theme}_{width}")
            if problems:
                found[theme, width] = problems
    assert found == {} and notebook.errors() == []


def look_at(notebook: NotebookPage, name: str) -> None:
    notebook.screenshot(f"outliers_{name}", notebook.page.locator(".glora-panel").first)
