"""The fixture itself: it does what a reader does, and it sees what a reader would not."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenNotebook
from tests.browser.notebook_page import NotebookPage
from tests.written_notebook import write_notebook

CONTROLS = """\
import ipywidgets as widgets
button = widgets.Button(description="Count")
label = widgets.Label("nothing yet")
rank = widgets.IntSlider(4, 1, 32, description="rank", continuous_update=False)
mode = widgets.Dropdown(options=["lora", "vector", "none"], description="mode")
form = widgets.ToggleButtons(options=["elementwise", "product"], description="form")
display(widgets.VBox([button, label, rank, mode, form]))"""

COUNTING = """\
presses = []
button.on_click(lambda _: presses.append(1))
button.on_click(lambda _: setattr(label, "value", f"pressed {len(presses)} times"))"""

# plotly's renderer leaves a graph alone that it has drawn once, so updating a display handle changes nothing
# on the page; a new output in an Output widget is drawn anew.
PLOT = """\
import plotly.graph_objects as go
figure = go.Figure(go.Scatter(y=[1, 2, 3], name="loss"), layout={"title": {"text": "falling"}})
shown = widgets.Output()
drawn = lambda: ({"output_type": "display_data", "data": figure._repr_mimebundle_(), "metadata": {}},)
shown.outputs = drawn()
rank.observe(lambda c: (figure.update_traces(y=[c.new] * 3), setattr(shown, "outputs", drawn())), "value")
display(shown)"""

BROKEN = """\
import threading
button.on_click(lambda _: 1 / 0)
thread = threading.Thread(target=lambda: [][1])"""
FAILING = "assert 1 == 2, 'claim'"


def test_a_reader_presses_chooses_slides_and_looks(open_notebook: OpenNotebook, tmp_path: Path) -> None:
    notebook = open_notebook(write_notebook(tmp_path / "good.ipynb", CONTROLS, COUNTING, PLOT))
    notebook.run_all()

    notebook.press("Count")
    notebook.press("Count")
    notebook.sees("pressed 2 times")
    assert notebook.evaluate("len(presses)") == 2

    notebook.choose("mode", "vector")
    notebook.choose("form", "product")
    assert notebook.evaluate("[mode.value, form.value]") == ["vector", "product"]

    before = notebook.pixels(".js-plotly-plot")
    notebook.slide("rank", 16)
    notebook.until("lab.plots()[0].traces[0].y[0] === 16")
    assert notebook.evaluate("rank.value") == 16
    (plot,) = notebook.plots()
    assert (plot["title"], plot["traces"][0]["name"]) == ("falling", "loss")
    after = notebook.pixels(".js-plotly-plot")
    assert before.shape == after.shape and (before != after).any()
    assert notebook.screenshot("fixture", ".jp-OutputArea").stat().st_size > 0

    notebook.reload()
    expect(notebook.button("Count")).to_be_visible()
    assert notebook.errors() == []


def test_a_failing_cell_fails_the_run_and_it_sees_errors_that_a_reader_would_not(
    tab: NotebookPage, tmp_path: Path
) -> None:
    notebook = tab.open(write_notebook(tmp_path / "bad.ipynb", CONTROLS, BROKEN, FAILING), "bad")
    with pytest.raises(AssertionError, match="claim"):
        notebook.run_all()
    assert notebook.errors() and all("claim" in error for error in notebook.errors())
    notebook.page.evaluate("lab.errors.length = 0")
    notebook.press("Count")
    notebook.page.evaluate("fetch('http://elsewhere.invalid/').catch(() => 0)")
    notebook.page.evaluate("lab.ask('it', 'thread.start()')")
    seen = notebook.close()
    for error in ("ZeroDivisionError", "IndexError", "outside the server"):
        assert any(error in line for line in seen), (error, seen)
