"""A panel's figure stays the same graph from picture to picture, in every view of it; others' figures are as they were.

How long that takes is measured by `make bench-panels`. Here is counted what it rests on, which no busy machine changes.
"""

from __future__ import annotations

from pathlib import Path

from tests.browser.conftest import OpenNotebook
from tests.browser.notebook_page import NotebookPage
from tests.written_notebook import write_notebook

PANEL = """\
from glora_lab.panels import PathPanel
panel = PathPanel()
display(panel)"""
OTHER = """\
import plotly.graph_objects as go
go.Figure(go.Scatter(y=[1, 3, 2]))"""
# Of each view of the panel its graph, and how often plotly draws it from now on.
WATCH = """() => {
  window.watched = [];
  for (const graph of document.querySelectorAll(".glora-figure .js-plotly-plot")) {
    const one = { graph, drawn: 0 };
    graph.on("plotly_afterplot", () => one.drawn++);
    watched.push(one);
  }
}"""
SAME = "watched.every(({ graph }, n) => graph === document.querySelectorAll('.glora-figure .js-plotly-plot')[n])"
DRAWN = "watched.map(({ drawn }) => drawn)"
HEATMAP = "[...document.querySelectorAll('.glora-figure .js-plotly-plot')].map((graph) => graph._fullData[2].z[0][0])"
TAKEN_DOWN = "watched.every(({ graph }) => !graph._fullLayout && !graph._responsiveChartHandler)"
OUTPUTS = "lab.panel().content.widgets.flatMap(({ model }) => model.outputs.toJSON())"
IMAGES = f"{OUTPUTS}.filter((one) => one.data?.['image/png'])"


def test_a_picture_follows_another_in_the_same_graph(open_notebook: OpenNotebook, tmp_path: Path) -> None:
    notebook = open_notebook(write_notebook(tmp_path / "views.ipynb", PANEL, "display(panel)", OTHER))
    notebook.run_all()
    notebook.until("document.querySelectorAll('.js-plotly-plot .main-svg').length >= 3")
    shows(notebook, 5)  # of the first picture JupyterLab's own renderer made the graph

    notebook.page.evaluate(WATCH)
    assert notebook.page.evaluate("watched.length") == 2
    for n, rank in enumerate((6, 7, 8), start=1):
        shows(notebook, rank)
        assert notebook.page.evaluate(SAME)
        assert notebook.page.evaluate(DRAWN) == [n, n]

    notebook.until(f"{IMAGES}.length === 1")  # the other figure has one, for the notebook's file

    notebook.evaluate("panel.figure.clear()")
    notebook.until("!document.querySelector('.glora-figure .js-plotly-plot')")
    notebook.until(TAKEN_DOWN)
    shows(notebook, 9)
    notebook.page.evaluate(WATCH)
    assert notebook.page.evaluate("watched.length") == 2

    notebook.evaluate("panel.close()")
    notebook.until("!document.querySelector('.glora-panel')")
    notebook.until(TAKEN_DOWN)


def shows(notebook: NotebookPage, rank: int) -> None:
    """Set the rank, and wait until every view shows what the panel says."""
    before = notebook.page.evaluate(HEATMAP)
    notebook.evaluate(f"panel.rank.set_trait('value', {rank})")
    notebook.until(f"(({HEATMAP}).length && ({HEATMAP}).every((z, n) => z !== {before}[n]))")
    value = notebook.evaluate("float(panel.picture.b[0, 0])")
    assert all(abs(z - value) <= 1e-6 * abs(value) for z in notebook.page.evaluate(HEATMAP))
