"""What the page can bear: ten panels at once, and nothing left of a closed one."""

from __future__ import annotations

from pathlib import Path

from tests.browser.all_panels import BEGIN
from tests.browser.conftest import OpenNotebook
from tests.written_notebook import write_notebook

TEN = """\
ten = [panels.PathPanel() if at % 2 else panels.ReachPanel() for at in range(10)]
for panel in ten:
    display(panel)"""


def test_ten_panels_answer_and_a_closed_one_leaves_nothing(open_notebook: OpenNotebook, tmp_path: Path) -> None:
    notebook = open_notebook(write_notebook(tmp_path / "ten.ipynb", BEGIN, COUNT, TEN))
    notebook.run_all()
    notebook.until("document.querySelectorAll('.glora-panel').length === 10", 60)
    took = notebook.seconds_to_picture("rank", "the weight moves", ["ArrowRight", "ArrowLeft"] * 3, nth=1)
    assert notebook.tell_times("ten panels in one notebook, rank to picture", took) < 2
    assert notebook.evaluate("open_widgets()") > 300
    assert notebook.evaluate("[panel.close() for panel in ten] and open_widgets()") == 0
    notebook.until("document.querySelectorAll('.glora-panel, .glora-figure').length === 0")
    assert notebook.errors() == []


COUNT = """\
from ipywidgets.widgets.widget import _instances
before = set(_instances)
comms = lambda: get_ipython().kernel.comm_manager.comms
open_widgets = lambda: len((set(_instances) | set(comms())) - before)"""
