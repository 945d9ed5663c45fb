"""Notebook 05 as a reader goes through it: click a block, move with the keys, try a k that does not fit.

`panel` is the notebook's first BlockPanel, on a layer of 128 by 128; a `live` one and one `from_disk` stand below.
The time from a slider to its picture is printed when all tests have run.
"""

from __future__ import annotations

import numpy as np
from playwright.sync_api import Locator, expect

from tests.browser.conftest import OpenNotebook
from tests.browser.notebook_page import NotebookPage
from tests.source import ROOT

FIRST = ".glora-blocks"
MOVES = 6


def test_a_block_is_clicked_and_its_detail_changes(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook(ROOT / "notebooks/05_gralora_blocks.ipynb")
    notebook.run_all()
    to_the_first_panel(notebook)
    notebook.screenshot("gralora_blocks")

    click_a_block(notebook)
    move_with_the_keys(notebook)
    try_what_does_not_fit(notebook)
    time_the_sliders(notebook)
    watch_it_train(notebook)
    come_back(notebook)
    assert notebook.errors() == []


def to_the_first_panel(notebook: NotebookPage) -> None:
    notebook.page.evaluate("window.jupyterapp.shell.currentWidget.content.scrollToItem(2, 'start')")
    notebook.page.locator(FIRST).first.wait_for()
    notebook.page.locator('.jp-CodeCell:has-text("panel = BlockPanel(toy")').last.evaluate("e => e.scrollIntoView()")
    notebook.page.wait_for_timeout(500)


def block(notebook: NotebookPage, m: int, n: int) -> Locator:
    return notebook.page.locator(FIRST).first.locator(f'[data-block="{m},{n}"]')


def is_chosen(notebook: NotebookPage, m: int, n: int) -> None:
    """In the page's cells, in the words below the detail, and in the kernel."""
    expect(block(notebook, m, n)).to_have_attribute("aria-selected", "true")
    notebook.sees(f"Layer square, block m {m}, n {n}: reads")  # the page is ahead of the kernel until then
    assert notebook.evaluate("[panel.selected, (panel.detail.m, panel.detail.n)]") == [[m, n], [m, n]]


def click_a_block(notebook: NotebookPage) -> None:
    is_chosen(notebook, 0, 0)
    before = notebook.pixels(notebook.page.locator(".js-plotly-plot", has_text="block m 0, n 0").first)
    plain = notebook.pixels(block(notebook, 2, 1))
    block(notebook, 2, 1).click()
    notebook.sees("block m 2, n 1: reads input channels 32 to 63, writes output channels 64 to 95")
    is_chosen(notebook, 2, 1)
    picture = notebook.page.locator(".js-plotly-plot", has_text="block m 2, n 1").first
    picture.wait_for()
    after = notebook.pixels(picture)
    assert after.shape == before.shape and (np.abs(after.astype(int) - before) > 16).mean() > 0.05
    outlined = notebook.pixels(block(notebook, 2, 1))
    assert (outlined[:, :, :3].max(axis=2) < 40).sum() > (plain[:, :, :3].max(axis=2) < 40).sum() + 100  # a black frame
    assert notebook.control("m, output block").first.locator("input").input_value() == "2"


def move_with_the_keys(notebook: NotebookPage) -> None:
    selected = notebook.page.evaluate("lab.panel().content.activeCellIndex")
    for key, (m, n) in (("ArrowDown", (3, 1)), ("ArrowRight", (3, 2)), ("Home", (3, 0)), ("PageUp", (0, 0))):
        notebook.page.keyboard.press(key)
        expect(block(notebook, m, n)).to_be_focused()
        is_chosen(notebook, m, n)
    notebook.page.keyboard.press("ArrowUp")  # the edge
    is_chosen(notebook, 0, 0)
    assert notebook.page.evaluate("lab.panel().content.activeCellIndex") == selected  # JupyterLab kept its hands off
    notebook.slide("n, input block", 3)
    is_chosen(notebook, 0, 3)
    assert (
        block(notebook, 0, 3).get_attribute("tabindex") == "0"
        and block(notebook, 0, 0).get_attribute("tabindex") == "-1"
    )


def try_what_does_not_fit(notebook: NotebookPage) -> None:
    board = notebook.page.locator(FIRST).first.locator("[role=grid]")
    kept = board.inner_html()
    notebook.slide("k", 3)
    notebook.sees("`gralora_k` (=3) must divide the features and the rank of a layer")
    notebook.sees("k that fit: 1, 2, 4, 8, 16")
    assert board.inner_html() == kept and notebook.evaluate("panel.grid.k") == 4
    notebook.slide("k", 8)
    expect(board.locator("[role=gridcell]")).to_have_count(64)
    assert notebook.evaluate("[panel.grid.k, panel.grid.rank, panel.problem, len(panel.errors)]") == [8, 128, "", 0]


def time_the_sliders(notebook: NotebookPage) -> None:
    """No time is asserted: a loaded machine would fail a good panel."""
    notebook.slide("k", 2)
    expect(notebook.page.locator(FIRST).first.locator("[role=gridcell]")).to_have_count(4)
    there_and_back = ["ArrowLeft", "ArrowRight"] * (MOVES // 2)
    board, seconds = f"{FIRST} [role=grid]", {}
    seconds["k to the blocks"] = notebook.seconds_to_change("k", board, there_and_back)
    seconds["k to the block's detail"] = notebook.seconds_to_picture("k", "square, block m", there_and_back)
    seconds["r to the blocks"] = notebook.seconds_to_change("r", board, there_and_back)
    seconds["hybrid rank to the blocks"] = notebook.seconds_to_change("hybrid rank", board, there_and_back[::-1])
    for name, took in seconds.items():
        notebook.tell_times(f"05, {name}", took)
    assert all(len(took) == MOVES for took in seconds.values())


def watch_it_train(notebook: NotebookPage) -> None:
    """The panel `live` follows another session of its model by itself: its blocks change while steps are taken."""
    cell = notebook.page.locator('.jp-CodeCell:has-text("live = BlockPanel(")').last
    cell.evaluate("e => e.scrollIntoView()")
    board = cell.locator("[role=grid]")
    seen = [board.inner_text()]
    again = "glora_lab.TrainSession(learner, task, steps=5000, lr=1e-2, seed=1)"
    notebook.evaluate(f"[live.follow(again := {again}), again.start()]")
    while len(seen) < 4:
        expect(board).not_to_have_text(seen[-1], use_inner_text=True)
        seen.append(board.inner_text())
    assert notebook.evaluate("[again.stop(), again.state in ('stopping', 'stopped')]")[1]
    expect(cell).to_contain_text("stopped: step")
    assert notebook.evaluate("live.grid == block_grid(learner, live.grid.layer)")
    to_the_first_panel(notebook)


def come_back(notebook: NotebookPage) -> None:
    """A reader who loads the page again finds the grid as it was, and it still answers."""
    notebook.slide("k", 4)
    expect(notebook.page.locator(FIRST).first.locator("[role=gridcell]")).to_have_count(16)
    grid = notebook.page.locator(FIRST).first.locator("[role=grid]")
    shown = grid.inner_text()
    notebook.reload()
    to_the_first_panel(notebook)
    assert grid.inner_text() == shown
    block(notebook, 3, 1).click()
    notebook.sees("square, block m 3, n 1: reads input channels 32 to 63")
    is_chosen(notebook, 3, 1)
