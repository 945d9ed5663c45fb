"""Notebook 04 in a real browser: A is moved to −1 and the precision changed by hand, and the picture follows."""

from __future__ import annotations

from tests.browser.conftest import OpenNotebook
from tests.source import ROOT

TITLE = "document.querySelector('.glora-finding').textContent"  # the panel stands above every other picture
STOCK = "panel.report.lost_at('stock PEFT'), panel.report.changed('glora_lab')"


def test_a_reader_loses_stocks_base_and_gets_ours_back(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook(ROOT / "notebooks/04_merge_and_switch.ipynb")
    notebook.run_to("panel = MergePanel")
    notebook.until(f"{TITLE}.includes('; ours is back, every bit')")
    assert notebook.evaluate(f"[{STOCK}]") == [None, 0]
    calm = notebook.pixels(".js-plotly-plot")

    notebook.slide("A and D", -1)
    notebook.until(f"{TITLE}.includes('base is lost after 1 cycle')")
    assert notebook.evaluate(f"[{STOCK}]") == [1, 0]
    notebook.sees("with stock PEFT the base holds no numbers any more after 1 cycle")
    lost = notebook.pixels(".js-plotly-plot")
    assert lost.shape == calm.shape and (lost != calm).any(axis=-1).mean() > 0.01
    cell = notebook.page.locator(".jp-CodeCell", has_text="panel = MergePanel").first
    cell.evaluate("element => element.scrollIntoView({ block: 'start' })")
    notebook.page.wait_for_timeout(300)
    notebook.screenshot("merge_at_minus_one")

    notebook.slide("A and D", -0.9)
    notebook.choose("precision", "float32")
    notebook.until(f"{TITLE}.includes('in float32') && {TITLE}.includes('base is off by')")
    assert notebook.evaluate("(panel.report.dtype, panel.report.rows[0].layer)") == [
        "float32", "vit.layers.1.mlp.fc1"
    ]  # fmt: skip
    notebook.page.wait_for_timeout(300)
    notebook.screenshot("merge_float32")
    took = notebook.seconds_to_picture("A and D", "cycles of merging", ["ArrowRight", "ArrowLeft"] * 3)
    notebook.tell_times("04, A to picture, 100 cycles", took)

    notebook.choose("look at", "two adapters")
    notebook.until(f"{TITLE}.includes('together right')")
    notebook.slide("A and D", 0)
    notebook.until(f"{TITLE}.includes('Together or in turn: the same weight')")
    assert notebook.errors() == []
