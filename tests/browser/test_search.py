"""SearchPanel in a real browser: Search is pressed, points arrive, the limit is dragged, a point is chosen by key and
by click; its path map follows, its code is copied, and the search is stopped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from playwright.sync_api import expect

from tests.browser.conftest import OpenNotebook
from tests.browser.notebook_page import NotebookPage
from tests.written_notebook import write_notebook

PANEL = """\
import torch
from glora_lab.panels import SearchPanel, check_panels
from glora_lab.search.engines import Inherited
torch.set_num_threads(1)
Inherited.first, Inherited.then = 2, 2  # steps of a supernet, which nobody waits for here
lab = SearchPanel(engine="inherited", trials=5000, gate=0, steps=4, keep_runs=False)
lab"""
BOARD = ".glora-trials-board"
DRAWN = "document.querySelector('.glora-trials').dataset.drawn ?? '0 -1'"
COUNT = f"Number(({DRAWN}).split(' ')[0])"
MAP = ".glora-below .glora-finding"


def test_a_reader_searches_drags_the_limit_and_takes_a_point_apart(open_notebook: OpenNotebook, tmp_path: Path) -> None:
    notebook = open_notebook(write_notebook(tmp_path / "search.ipynb", PANEL))
    notebook.run_all()
    notebook.sees("15,625 settings, 384 to 21,504 parameters")
    notebook.press("Search")
    notebook.until(f"{COUNT} >= 12")
    notebook.sees("running: trial ")
    pause_and_look(notebook)
    drag_the_limit(notebook)
    move_with_the_keys(notebook)
    click_a_point(notebook)
    copy_the_code(notebook)
    notebook.press("Stop")
    notebook.sees("stopped: trial ")
    notebook.becomes("[lab.session.state, check_panels()]", ["stopped", None])
    assert notebook.errors() == []


def pause_and_look(notebook: NotebookPage) -> None:
    """Nothing moves then but by hand."""
    notebook.press("Pause")
    notebook.sees("paused: trial ")
    notebook.until(f"{COUNT} === {notebook.evaluate('len(lab.study.trials)')}")
    expect(notebook.page.locator(MAP).first).to_contain_text("parameters")


def drag_the_limit(notebook: NotebookPage) -> None:
    board = notebook.page.locator(BOARD)
    before = notebook.pixels(board)
    most = max(trial["params"] for trial in notebook.evaluate("lab.result.to_dicts()"))
    notebook.slide("limit", most // 2)
    notebook.becomes(f"abs(lab.controls.most / {most // 2} - 1) < 0.03", True)
    limit = notebook.evaluate("lab.controls.most")
    notebook.sees(f"Best within {limit:,}: ")
    assert notebook.evaluate("[lab.session.state, lab.chosen == lab.best, lab.best.params <= lab.controls.most]") == [
        "paused", True, True
    ]  # fmt: skip
    notebook.changed(board, before, 0.001)
    took = notebook.seconds_to_change("limit", ".glora-trials-note", ["ArrowLeft", "ArrowRight"] * 5)
    notebook.tell_times("SearchPanel, limit to the picture", took)
    assert len(took) == 10


def move_with_the_keys(notebook: NotebookPage) -> None:
    """Home is the smallest of the front, up and down lead along it, and the other keys through all."""
    cell = notebook.page.evaluate("lab.panel().content.activeCellIndex")
    board = notebook.page.locator(BOARD)
    board.focus()
    notebook.page.keyboard.press("Home")
    notebook.becomes("lab.chosen == lab.study.front[0]", True)
    first = notebook.page.locator(MAP).first.inner_text()
    notebook.page.keyboard.press("End")
    notebook.becomes("lab.chosen == lab.study.front[-1]", True)
    notebook.until(f"document.querySelector('{MAP}').innerText !== {first!r}")
    words = notebook.evaluate("lab.map.chooser.points['words'][lab.map.chooser.chosen]")
    expect(board).to_have_attribute("aria-valuetext", words)
    for key, expression in {
        "ArrowDown": "lab.chosen == lab.study.front[-2]",
        "ArrowUp": "lab.chosen == lab.study.front[-1]",
        "ArrowLeft": "lab.chosen.params <= lab.study.front[-1].params and lab.chosen.number",
    }.items():
        notebook.page.keyboard.press(key)
        notebook.until(f"document.activeElement.matches('{BOARD}')")
        if key != "ArrowLeft":
            notebook.becomes(expression, True)
    order = notebook.evaluate("lab.map.chooser.points['order']")
    last = notebook.evaluate("lab.map.chooser.points['front'][-1]")
    notebook.becomes("lab.map.chooser.chosen", order[order.index(last) - 1])
    assert notebook.page.evaluate("lab.panel().content.activeCellIndex") == cell  # JupyterLab kept its hands off


def click_a_point(notebook: NotebookPage) -> None:
    """The smallest of the front lies alone on the left; pointing at it tells its numbers."""
    board = notebook.page.locator(BOARD)
    x, y, words = notebook.evaluate(
        "[lab.map.chooser.points[name][lab.map.chooser.points['front'][0]] for name in ('x', 'y', 'words')]"
    )
    place = board.evaluate(
        "(e, [x, y]) => { e.scrollIntoView({ block: 'center' }); const r = e.getBoundingClientRect();"
        "return [r.left + 1 + x * e.clientWidth, r.top + 1 + (1 - y) * e.clientHeight]; }",
        [x, y],
    )
    before = notebook.pixels(board)
    notebook.page.mouse.move(*place)
    expect(notebook.page.locator(".glora-trials-tip")).to_have_text(words)
    notebook.page.mouse.click(*place)
    notebook.becomes("lab.chosen == lab.study.front[0]", True)
    notebook.page.mouse.move(0, 0)
    after = notebook.changed(board, before, 0.0005)
    assert (np.abs(after.astype(int) - before) > 16).any()
    notebook.screenshot("search_chosen", notebook.page.locator(".glora-panel").first)


def copy_the_code(notebook: NotebookPage) -> None:
    notebook.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    notebook.press("Copy", nth=notebook.button("Copy").count() - 1)
    notebook.until("(navigator.clipboard.readText().then(text => (window.copied = text)), window.copied)")
    copied = notebook.page.evaluate("window.copied")
    assert copied == notebook.evaluate("lab.snippet") and copied.startswith("from glora_lab import GloraConfig")
