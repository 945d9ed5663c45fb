"""Notebook 06: the outlier moves, and the contaminated blocks with it; a real layer shows its strongest channel."""

from __future__ import annotations

from typing import Any

from tests.browser.conftest import OpenNotebook
from tests.browser.notebook_page import NotebookPage
from tests.source import ROOT

LAYER = "vit.layers.1.mlp.fc2"
WORD = "J Jᵀ"  # above the panel's heatmaps, and in the pictures of the cells below it
FIRST = "document.querySelector('.js-plotly-plot')"  # the panel stands above every other picture
FRAMES = f"{FIRST}._fullLayout.shapes.filter(shape => shape.type === 'rect' && shape.xref === 'x4')"
MARKS = f"{FIRST}._fullLayout.annotations.filter(note => '▼▽'.includes(note.text))"


def test_the_outlier_moves_and_the_contaminated_blocks_with_it(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook(ROOT / "notebooks/06_gradient_entanglement.ipynb")
    notebook.run_to("panel = EntanglementPanel")
    assert notebook.evaluate("panel.contaminated") == [[m, 0] for m in range(4)]
    assert frames(notebook) == [[0, 32]] * 4
    before = notebook.pixels(".js-plotly-plot")

    notebook.slide("outlier channel", 70)
    notebook.until(f"{FRAMES}[0].x0 > 60")
    assert notebook.evaluate("panel.contaminated") == [[m, 2] for m in range(4)]
    assert frames(notebook) == [[64, 96]] * 4
    assert notebook.page.evaluate(f"{MARKS}.map(note => note.x)") == [70, 70, 70]
    after = notebook.pixels(".js-plotly-plot")
    assert before.shape == after.shape and (before != after).any(axis=-1).mean() > 0.01
    picture_of(notebook, "entanglement_synthetic")
    an_impossible_k_keeps_the_picture(notebook)
    a_real_layer_shows_its_strongest_channel(notebook)
    the_picture_follows_the_slider(notebook)
    assert notebook.errors() == []


def frames(notebook: NotebookPage) -> list[Any]:
    """The input channels, first and one past the last, of each framed block of GraLoRA, as drawn."""
    return notebook.page.evaluate(f"{FRAMES}.map(shape => [shape.x0 + 0.5, shape.x1 + 0.5])")


def an_impossible_k_keeps_the_picture(notebook: NotebookPage) -> None:
    notebook.slide("k", 3)
    notebook.sees("`k` (=3) must divide")
    assert frames(notebook) == [[64, 96]] * 4
    notebook.slide("k", 8)
    notebook.until(f"{FRAMES}.length === 8")
    assert notebook.evaluate("panel.contaminated") == [[m, 4] for m in range(8)]
    notebook.slide("k", 4)
    notebook.until(f"{FRAMES}.length === 4")


def a_real_layer_shows_its_strongest_channel(notebook: NotebookPage) -> None:
    notebook.choose("layer", LAYER)
    notebook.until(f"{FIRST}.closest('.glora-slot').textContent.includes('outliers 114')")
    assert notebook.evaluate("[panel.channel.value, panel.magnitude.value]") == [114, 1]
    assert notebook.page.evaluate(f"{MARKS}[0].x") == 114
    notebook.sees("Its strongest channel is 114")
    picture_of(notebook, "entanglement_real")
    notebook.choose("layer", "synthetic layer")
    notebook.until(f"{MARKS}[0].x === 10")


def the_picture_follows_the_slider(notebook: NotebookPage) -> None:
    """The aim is 100 ms at the median on a quiet machine. No time is asserted: a loaded one would fail a good panel."""
    seconds = notebook.seconds_to_picture("outlier channel", WORD, ["ArrowRight", "ArrowLeft"] * 5)
    notebook.tell_times("06, outlier channel to picture", seconds)
    assert len(seconds) == 10


def picture_of(notebook: NotebookPage, name: str) -> None:
    panel = notebook.page.locator(".jp-CodeCell", has_text="panel = EntanglementPanel(size").first
    panel.evaluate("element => element.scrollIntoView({ block: 'start' })")
    notebook.page.wait_for_timeout(300)
    notebook.screenshot(name)
