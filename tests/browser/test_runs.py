"""Runs that last: what a reader has trained is in the table after a reload and a new kernel, and no run goes unseen."""

from __future__ import annotations

from pathlib import Path

from tests.browser.conftest import OpenNotebook
from tests.browser.notebook_page import NotebookPage
from tests.written_notebook import write_notebook

PANEL = """\
import torch
from glora_lab.panels import TrainPanel, check_panels
torch.set_num_threads(1)
lab = TrainPanel(method="LoRA", rank=2, steps=20, keep_runs="kept")
display(lab)"""
RUN, MINE, MANY = "LoRA, rank 2", "the first of mine", 10_000
ROWS = "[...document.querySelectorAll('.glora-panel td:first-child')].map(cell => cell.textContent)"


def test_runs_outlive_the_page_and_the_kernel(open_notebook: OpenNotebook, tmp_path: Path) -> None:
    notebook = open_notebook(write_notebook(tmp_path / "runs.ipynb", PANEL))
    notebook.run_all()
    notebook.press("Train")
    has_rows(notebook, RUN)
    notebook.reload()
    notebook.run_all()
    has_rows(notebook, RUN)
    a_run_is_renamed_deleted_and_brought_back(notebook)
    two_are_compared(notebook)
    a_cell_run_again_in_mid_run_goes_on_with_it(notebook)
    notebook.restart()
    notebook.run_all()
    notebook.until(f"{ROWS}.includes('{MINE}') && {ROWS}.length === 3")
    assert notebook.evaluate("lab.runs == [] and check_panels() is None")
    assert notebook.errors() == []


def has_rows(notebook: NotebookPage, *names: str) -> None:
    notebook.until(f"JSON.stringify({ROWS}) === JSON.stringify({list(names)})")


def a_run_is_renamed_deleted_and_brought_back(notebook: NotebookPage) -> None:
    notebook.choose("compare", RUN)
    notebook.sees("load_adapter(")
    notebook.slide("name", MINE)
    notebook.press("Rename")
    has_rows(notebook, MINE)
    notebook.press("Delete")
    has_rows(notebook)
    notebook.press("Undo delete")
    has_rows(notebook, MINE)
    notebook.screenshot("runs_brought_back")


def two_are_compared(notebook: NotebookPage) -> None:
    notebook.press("Train")
    has_rows(notebook, RUN, MINE)
    select = notebook.control("compare").locator("select")
    select.select_option([RUN, MINE])
    notebook.until(f"lab.plots().some(plot => {[RUN, MINE]}.every(name => plot.traces.some(t => t.name === name)))")
    notebook.screenshot("runs_compared")


def a_cell_run_again_in_mid_run_goes_on_with_it(notebook: NotebookPage) -> None:
    notebook.press("more")
    notebook.slide("steps", MANY)
    notebook.press("Train")
    notebook.sees(f"{RUN} (2) on digits-turned, running: step")
    notebook.run_all()
    notebook.sees(f"{RUN} (2) on digits-turned, begun before this cell was run again, running: step")
    assert notebook.evaluate("lab.under_way and lab.controls.steps.value") == 20
    notebook.press("Stop")
    notebook.until(f"{ROWS}[0].startsWith('{RUN} (2), stopped at ')")
    assert (
        notebook.evaluate("sum(thread.name == 'TrainSession' for thread in __import__('threading').enumerate())") == 0
    )
