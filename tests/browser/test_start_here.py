"""The first notebook, as a newcomer goes through it: change a path, train, stop, and no error anywhere.

`lab` and `paths` are the notebook's two panels, the second below the first; the guess is waived. Set README_PICTURE to
a file to have the picture of the README taken.
"""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

import psutil
from playwright.sync_api import Locator

from tests.browser.conftest import OpenNotebook
from tests.browser.notebook_page import PATIENCE, NotebookPage
from tests.source import ROOT

MANY_STEPS = 10_000  # the most the panel takes: it is to be stopped, however long the page needs for that
SECOND = "all paths, rank 1 (2)"  # the notebook itself has made the first run
SAVED = 8 * (64 + 128) - 128  # parameters of A in mode lora, rank 8, less those of a vector
POINTS = f'lab.plots().flatMap(plot => plot.traces).find(trace => trace.name === "{SECOND}")?.y.length'


def test_a_newcomer_changes_a_path_and_trains(open_notebook: OpenNotebook) -> None:
    notebook = open_and_run(open_notebook)
    assert notebook.evaluate("lab.runs[-1].metric - frozen.accuracy") > 0.4

    take_picture(notebook)
    change_a_path(notebook)
    train_and_stop(notebook)
    assert notebook.errors() == []


def open_and_run(open_notebook: OpenNotebook) -> NotebookPage:
    """How long a newcomer waits for the first picture is printed when all tests have run, and how much is computed for
    it, which is the same on a busy machine."""
    began, computed = time.monotonic(), cpu_seconds()
    notebook = open_notebook(ROOT / "notebooks/00_start_here.ipynb")
    opened = time.monotonic() - began
    notebook.page.evaluate("lab.runAll()")
    notebook.page.locator(".js-plotly-plot .main-svg").first.wait_for(state="attached", timeout=1000 * PATIENCE)
    took = f"open after {opened:.1f} s, first picture after {time.monotonic() - began:.1f} s"
    notebook.tell(f"00: {took}, for which server, kernel and page computed {cpu_seconds() - computed:.1f} s")
    notebook.has_run()
    return notebook


def cpu_seconds() -> float:
    """Of all that this process has started and that still runs."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it has ended meanwhile
            total += sum(process.cpu_times()[:2])  # of the user and of the system
    return total


def change_a_path(notebook: NotebookPage) -> None:
    params, seen = notebook.evaluate("paths.params"), notebook.pixels(heatmaps(notebook))
    notebook.sees(f"{params:,} trainable parameters in this layer")
    notebook.choose("A", "vector", nth=1)  # the panel that trains has one, too
    notebook.until(f"document.body.innerText.includes('{params - SAVED:,} trainable parameters in this layer')")
    assert notebook.evaluate("paths.config.config_A") == "vector"
    assert notebook.evaluate("paths.params") == params - SAVED
    notebook.changed(heatmaps(notebook), seen, 0.01)  # the picture follows the words


def heatmaps(notebook: NotebookPage) -> Locator:
    return notebook.page.locator(".glora-slot", has_text="the weight moves").first.locator(".js-plotly-plot")


def train_and_stop(notebook: NotebookPage) -> None:
    notebook.page.locator("button.glora-fold").first.click()  # what the lesson does not use is folded
    notebook.slide("steps", MANY_STEPS)
    notebook.press("Train")
    notebook.until(f"{POINTS} > 10")
    first = notebook.page.evaluate(POINTS)
    notebook.until(f"{POINTS} > {first}")  # the points go on arriving
    notebook.press("Stop")
    notebook.sees("stopped: step")
    notebook.until(f"document.body.innerText.includes('{SECOND}, stopped at')")
    assert notebook.evaluate("lab.session.state") == "stopped"
    assert 10 < notebook.evaluate("len(lab.steps)") < MANY_STEPS


def take_picture(notebook: NotebookPage) -> None:
    panel = notebook.page.locator(".jp-CodeCell", has_text="TrainPanel(").last
    panel.evaluate("element => element.scrollIntoView({ block: 'start' })")
    notebook.page.wait_for_timeout(500)
    picture = notebook.screenshot("start_here")
    if wanted := os.environ.get("README_PICTURE"):
        shutil.copy(picture, Path(wanted))
