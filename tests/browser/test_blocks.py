"""Notebook 05 as a reader goes through it: cut with the slider, click a block, move with the keys, try what cannot be.

`panel` is the notebook's first BlockPanel, on a layer of 128 by 128; a `live` one and one `from_disk` stand below.
The time from a slider to its picture is printed when all tests have run.
"""

from __future__ import annotations

import numpy as np
from playwright.sync_api import Locator, expect

from tests.browser.conftest import OpenNotebook
from tests.browser.notebook_page import NotebookPage
from tests.source import ROOT

FIRST = ".glora-cut"
CUT = f"document.querySelector('{FIRST}').dataset.cut"
# Every frame that the picture draws, by what it says of the cut: "moving" on the way, k at its end.
WATCH = f"""() => {{
    window.drawn = [];
    const root = document.querySelector('{FIRST}');
    new MutationObserver(() => drawn.push(root.dataset.cut)).observe(root, {{ attributeFilter: ["data-cut"] }});
}}"""
MOVES = 6


def test_a_block_is_clicked_and_its_detail_changes(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook(ROOT / "notebooks/05_gralora_blocks.ipynb")
    notebook.run_all()
    to_the_first_panel(notebook)
    notebook.screenshot("gralora_blocks")

    cut_it(notebook)
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


def cut_it(notebook: NotebookPage) -> None:
    """The slider moves the pieces from one cut to the next, a bar does; where motion is unwanted they stand there."""
    page = notebook.page
    first = page.locator(FIRST).first
    expect(first.locator("[role=gridcell]")).to_have_count(16)
    notebook.until(f"{CUT} === '4'")
    before = notebook.pixels(first.locator("canvas"))
    page.evaluate(WATCH)
    press(notebook, "k", "ArrowRight")  # the tab asks for less motion
    notebook.until(f"{CUT} === '8'")
    expect(first.locator("[role=gridcell]")).to_have_count(64)
    expect(first).to_contain_text("8×8 pairs of rank 2: ΔW has rank 128")
    expect(first).to_contain_text("4,096 parameters at every k")
    assert set(page.evaluate("drawn")) == {"8"}
    cut = notebook.changed(first.locator("canvas"), before, 0.05)

    page.emulate_media(reduced_motion="no-preference")
    page.evaluate("drawn.length = 0")
    first.get_by_role("button", name="k = 1:").click()
    notebook.until(f"{CUT} === '1'")
    frames = page.evaluate("drawn")
    assert frames[0] == "moving" and frames[-1] == "1" and frames.count("moving") > 1
    notebook.becomes("(panel.controls.k.value, panel.grid.rank)", [1, 16])
    expect(first.get_by_role("button", name="k = 1:")).to_have_attribute("aria-pressed", "true")
    expect(first).to_contain_text("rank of ΔW: 16")
    for key in ("ArrowRight", "ArrowRight", "ArrowRight"):  # while the pieces are still on their way
        press(notebook, "k", key)
    notebook.until(f"{CUT} === '8'")
    assert "moving" in page.evaluate("drawn")
    assert (np.abs(notebook.pixels(first.locator("canvas")).astype(int) - cut) > 16).mean() < 0.01  # the right grid
    page.emulate_media(reduced_motion="reduce")
    press(notebook, "k", "ArrowLeft")
    notebook.until(f"{CUT} === '4'")


def press(notebook: NotebookPage, label: str, key: str) -> None:
    handle = notebook.control(label).first.locator(".noUi-handle").first
    handle.focus()
    notebook.page.keyboard.press(key)


def click_a_block(notebook: NotebookPage) -> None:
    assert notebook.page.locator(".glora-panel").first.locator(".js-plotly-plot").count() == 0  # nobody has asked
    block(notebook, 0, 0).click()
    is_chosen(notebook, 0, 0)
    before = notebook.pixels(notebook.page.locator(".glora-slot", has_text="Block m 0, n 0").first)
    plain = framed(notebook, 2, 1)
    block(notebook, 2, 1).click()
    notebook.sees("block m 2, n 1: reads input channels 32 to 63, writes output channels 64 to 95")
    is_chosen(notebook, 2, 1)
    picture = notebook.page.locator(".glora-slot", has_text="Block m 2, n 1").first
    picture.wait_for()
    after = notebook.pixels(picture)
    assert after.shape == before.shape and (np.abs(after.astype(int) - before) > 16).mean() > 0.05
    for _ in range(50):  # until the page has drawn its frame, white within black, of which each ground shows one
        if (np.abs(framed(notebook, 2, 1).astype(int) - plain) > 60).any(axis=2).sum() > 100:
            break
        notebook.page.wait_for_timeout(100)
    else:
        raise AssertionError("the chosen block has no frame")
    assert notebook.control("m, output block").first.locator("input").input_value() == "2"


def framed(notebook: NotebookPage, m: int, n: int) -> np.ndarray:
    """A block's pixels with those of its frame, which lies in the gap around it: (height + 6, width + 6, 4)."""
    grid = notebook.page.locator(FIRST).first.locator("[role=grid]")
    outer, inner = (
        notebook.page.evaluate("e => e.getBoundingClientRect().toJSON()", e.element_handle())
        for e in (grid, block(notebook, m, n))
    )
    top, left = round(inner["y"] - outer["y"]), round(inner["x"] - outer["x"])
    return notebook.pixels(grid)[
        top - 3 : top + round(inner["height"]) + 3, left - 3 : left + round(inner["width"]) + 3
    ]


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
    for _ in range(2):
        press(notebook, "r", "ArrowLeft")
    notebook.becomes("(panel.controls.r.value, panel.config.r)", [8, 8])
    notebook.sees("4×4 pairs of rank 2")
    kept = board.inner_html()
    press(notebook, "r", "ArrowLeft")  # to 6, which 4 does not divide
    notebook.sees("`gralora_k` (=4) must divide the features and the rank of a layer")
    notebook.sees("k that fit: 1, 2")
    assert board.inner_html() == kept and notebook.evaluate("(panel.config.r, panel.grid.k)") == [8, 4]
    for _ in range(3):
        press(notebook, "r", "ArrowRight")
    press(notebook, "k", "ArrowRight")
    expect(board.locator("[role=gridcell]")).to_have_count(64)
    notebook.becomes("[panel.grid.k, panel.grid.rank, panel.problem, len(panel.errors)]", [8, 128, "", 0])


def time_the_sliders(notebook: NotebookPage) -> None:
    """No time is asserted: a loaded machine would fail a good panel."""
    for _ in range(2):
        press(notebook, "k", "ArrowLeft")
    expect(notebook.page.locator(FIRST).first.locator("[role=gridcell]")).to_have_count(4)
    there_and_back = ["ArrowLeft", "ArrowRight"] * (MOVES // 2)
    board, seconds = f"{FIRST} [role=grid]", {}
    seconds["k to the blocks"] = notebook.seconds_to_change("k", board, there_and_back)
    seconds["k to the block's detail"] = notebook.seconds_to_picture("k", "Block m", there_and_back)
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
    bar = cell.get_by_role("button", name="k = 4: rank 64")  # it was built at rank 0, before the first step
    expect(bar.locator(".glora-cut-number")).to_have_text("64")
    seen = [board.inner_html()]  # the norms, in the names of the blocks
    again = "glora_lab.TrainSession(learner, task, steps=5000, lr=1e-2, seed=1)"
    notebook.evaluate(f"[live.follow(again := {again}), again.start()]")
    while len(seen) < 4:
        while (now := board.inner_html()) == seen[-1]:
            notebook.page.wait_for_timeout(100)
        seen.append(now)
    assert notebook.evaluate("[again.stop(), again.state in ('stopping', 'stopped')]")[1]
    expect(cell).to_contain_text("stopped: step")
    assert notebook.evaluate("live.grid == block_grid(learner, live.grid.layer)")
    to_the_first_panel(notebook)


def come_back(notebook: NotebookPage) -> None:
    """A reader who loads the page again finds the grid as it was, and it still answers."""
    press(notebook, "k", "ArrowRight")
    expect(notebook.page.locator(FIRST).first.locator("[role=gridcell]")).to_have_count(16)
    grid = notebook.page.locator(FIRST).first.locator("[role=grid]")
    shown = grid.inner_html()
    notebook.reload()
    to_the_first_panel(notebook)
    assert grid.inner_html() == shown
    block(notebook, 3, 1).click()
    notebook.sees("square, block m 3, n 1: reads input channels 32 to 63")
    is_chosen(notebook, 3, 1)
