"""Whatever is pointed at or focused explains itself, and what is of one path or channel lights up with it."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Locator

from tests.browser.conftest import OpenNotebook
from tests.browser.notebook_page import NotebookPage
from tests.written_notebook import write_notebook

BEGIN = "from glora_lab import panels"
TIP = "(tip => tip && !tip.hidden ? tip.textContent : '')(document.getElementById('glora-tip'))"
MARKED = "document.querySelectorAll('.glora-mark').length"
DRAWN = "document.querySelectorAll('.glora-figure .js-plotly-plot[tabindex]').length"
# What is lit, and how many paths step back.
LIT = """[...document.querySelectorAll('.glora-lit')].map(node =>
  (node.dataset.path ?? node.className.match(/glora-path-(.)/)[1]) + ' ' + (node.dataset.path ? 'term' : 'row'))"""
DIMMED = "new Set([...document.querySelectorAll('.glora-dim')].map(node => node.__data__[0].trace.meta.path)).size"
BANDS = """[...document.querySelectorAll('.glora-mark')].map(box =>
  Math.round(parseFloat(box.style.left) + parseFloat(box.style.width) / 2))"""
# Where a channel lies in each of the maps, as plotly lays its axes out.
PLACES = """at => ["xaxis", "xaxis2", "xaxis3", "xaxis4"].map(name => {
  const axis = document.querySelector('.js-plotly-plot')._fullLayout[name];
  return Math.round(axis._offset + axis.c2p(at));
})"""


def test_a_path_explains_itself_and_lights_up_as_a_whole(open_notebook: OpenNotebook, tmp_path: Path) -> None:
    notebook = opened(open_notebook, tmp_path, "panels.PathPanel()")
    symbol = notebook.page.locator(".glora-symbol")
    symbol.filter(has_text="A").last.hover()
    notebook.until(f"{TIP}.startsWith('Path A scales the frozen weight')")
    assert notebook.page.evaluate(LIT) == ["A term", "A row"]
    assert notebook.page.evaluate(MARKED) == 1  # around its heatmap

    notebook.page.locator(".glora-path-E .widget-html").hover()  # its parameters; it has no heatmap, but bars
    notebook.until(f"{LIT}[0] === 'E term'")
    assert notebook.page.evaluate(LIT) == ["E term", "E row"]
    assert notebook.page.evaluate(f"[{MARKED}, {DIMMED}]") == [0, 2]  # C and D step back

    notebook.page.mouse.move(*middle_of(notebook.page.locator(".nsewdrag").nth(2)))
    notebook.until(f"{LIT}[0] === 'B term'")  # from the heatmap of B
    assert notebook.page.evaluate(MARKED) > 8  # its frame; the row and the column in four maps; the channel's bar

    walk_through_the_equation(notebook)
    walk_through_the_controls(notebook)
    assert notebook.page.locator(".glora-panel [title='null'], .glora-panel [title='']").count() == 0
    assert notebook.errors() == []


def walk_through_the_equation(notebook: NotebookPage) -> None:
    """One stop for Tab, the arrow keys from symbol to symbol, Escape for the words to go."""
    keys = notebook.page.keyboard
    notebook.page.mouse.move(0, 0)
    notebook.page.locator(".glora-symbol[tabindex='0']").focus()
    keys.press("ArrowRight")
    notebook.until(f"{TIP} === 'W0 is the pretrained weight, which stays frozen.'")
    keys.press("End")
    notebook.until(f"{TIP}.startsWith('Path C adds to the bias')")
    assert notebook.page.evaluate(LIT) == ["C term", "C row"]
    described = "document.activeElement.getAttribute('aria-describedby')"
    assert notebook.page.evaluate(described) == "glora-tip"
    keys.press("Escape")
    assert notebook.page.evaluate(f"[{TIP}, {MARKED}]") == ["", 0]
    assert notebook.page.locator(".glora-symbol[tabindex='0']").count() == 1


def walk_through_the_controls(notebook: NotebookPage) -> None:
    """Each that can be reached has its words."""
    controls = ".glora-side :is(button, select, .noUi-handle)"
    asks = f"[...document.querySelectorAll('{controls}')].filter(one => one.offsetParent)"
    count = notebook.page.evaluate(f"{asks}.length")
    silent = []
    for n in range(count):
        notebook.page.keyboard.press("Shift")  # the keyboard is in use: a focus is shown
        notebook.page.evaluate(f"{asks}[{n}].focus()")
        if not notebook.page.evaluate(TIP).endswith("."):
            silent.append(notebook.page.evaluate(f"{asks}[{n}].outerHTML"))
    assert count > 15 and silent == []


def test_a_channel_is_marked_in_every_map(open_notebook: OpenNotebook, tmp_path: Path) -> None:
    notebook = opened(open_notebook, tmp_path, "panels.EntanglementPanel()")
    graph = notebook.page.locator(".js-plotly-plot")
    notebook.page.mouse.move(*middle_of(notebook.page.locator(".nsewdrag").nth(1)))
    notebook.until(f"{MARKED} === 7")  # its column in three maps and in the lines, its row in three maps

    notebook.page.mouse.move(0, 0)
    graph.focus()
    for _ in range(11):
        notebook.page.keyboard.press("ArrowRight")
    notebook.until(f"{TIP}.startsWith('input channel 10: LoRA ')")
    marks_channel(notebook, 10)
    for _ in range(3):
        notebook.page.keyboard.press("ArrowLeft")
    marks_channel(notebook, 7)
    notebook.page.keyboard.press("Escape")
    assert notebook.page.evaluate(f"[{MARKED}, document.activeElement.className.includes('js-plotly-plot')]") == [
        0,
        True,
    ]

    notebook.page.locator(".glora-fold").click()
    notebook.page.locator(".glora-channel-i .noUi-handle").focus()
    notebook.until(f"{MARKED} === 4")
    marks_channel(notebook, 10)
    notebook.page.keyboard.press("ArrowRight")
    notebook.becomes("panel.channel.value", 11)
    notebook.sees("outlier 11")
    marks_channel(notebook, 11)  # in the new picture
    assert notebook.errors() == []


def marks_channel(notebook: NotebookPage, channel: int) -> None:
    places = sorted(notebook.page.evaluate(PLACES, channel))
    notebook.until(f"{MARKED} === 4")
    marked = sorted(notebook.page.evaluate(BANDS))
    assert all(abs(one - other) <= 1 for one, other in zip(marked, places, strict=True)), f"{marked} and not {places}"


def opened(open_notebook: OpenNotebook, folder: Path, panel: str) -> NotebookPage:
    notebook = open_notebook(write_notebook(folder / "explain.ipynb", BEGIN, f"panel = {panel}\npanel"))
    notebook.run_all()
    notebook.until(f"{DRAWN} === 1 && !document.querySelector('.glora-panel [title=\"null\"]')")
    return notebook


def middle_of(what: Locator) -> tuple[float, float]:
    what.scroll_into_view_if_needed()
    box = what.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
