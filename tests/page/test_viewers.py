"""A saved notebook where others read it: an export, nbviewer, GitHub; with scripts and styles, and without."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import nbformat
import pytest
from IPython.core.events import EventManager, available_events
from nbconvert import HTMLExporter

from glora_lab import panels
from glora_lab.page import last_picture
from glora_lab.page.panel import Panel
from tests.page.sanitised import Sanitised
from tests.page.test_last_picture import OneFigure

WIDGET = "application/vnd.jupyter.widget-view+json"
Outputs = list[dict[str, Any]]
Shown = Callable[[Panel], Outputs]


@pytest.fixture
def in_a_cell(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shown]:
    """The outputs of a cell that shows the panel, which is closed afterwards."""
    given: Outputs = []
    shown: list[Panel] = []
    monkeypatch.setattr("glora_lab.page.panel.display", lambda data, **_: given.append(data))
    monkeypatch.setattr(last_picture, "display", lambda data, **_: given.append(data))

    def show(panel: Panel) -> Outputs:
        shown.append(panel)
        panel._ipython_display_()
        return given

    yield show
    for panel in shown:
        panel.close()


def exported(outputs: Outputs, *, state: bool, template: str = "lab") -> str:
    """As nbconvert makes it of the notebook; JupyterLab saves it without the state of its widgets, nbclient with it."""
    made = [nbformat.v4.new_output("display_data", data=data) for data in outputs]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("panel", outputs=made)])
    if state:
        held = {data[WIDGET]["model_id"]: {} for data in outputs if WIDGET in data}
        notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": held}}
    return str(HTMLExporter(template_name=template).from_notebook_node(notebook)[0])


@pytest.mark.parametrize("images", [True, False])
@pytest.mark.parametrize("state", [True, False])
def test_where_scripts_and_styles_are_taken_out_picture_and_words_are_left(
    in_a_cell: Shown, state: bool, images: bool
) -> None:
    panel = panels.BlockPanel(k=2)
    page = exported(in_a_cell(panel), state=state)
    left = Sanitised(page[page.index("<main") :], images=images)
    words = panel.map.picture.words
    assert left.pictures == [words] * images and left.text.count(words) == 1
    assert "BlockPanel as it was last seen. k = 2 " in left.text  # no slider is left, and no button
    assert "Revive" not in left.text and "{" not in left.text and "glora" not in left.text.replace("glora-lab", "")
    assert left.text.count("its pictures stand below") == (not state)


def test_a_slider_is_there_when_the_script_that_moves_it_is(in_a_cell: Shown) -> None:
    *_, still = in_a_cell(panels.BlockPanel(k=2))
    assert '<input hidden id="' in still["text/html"] and "slider.hidden = false" in still["text/html"]


def test_a_panel_whose_picture_changed_is_saved_as_it_is_when_the_cell_is_over(
    in_a_cell: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who runs a notebook from end to end does not hear what comes between two cells."""

    class Shell:
        events = EventManager(None, available_events)

    later: Outputs = []
    monkeypatch.setattr(last_picture, "get_ipython", Shell)
    monkeypatch.setattr(last_picture, "update_display", lambda data, **_: later.append(data))
    panel = OneFigure()
    in_a_cell(panel)
    Shell.events.trigger("post_execute")
    assert later == []
    panel.draw(2)
    panel.draw(3)
    panel.slot.flush()
    Shell.events.trigger("post_execute")
    Shell.events.trigger("post_execute")
    assert [data["text/plain"] for data in later] == ["<3> it says"]
    panel.close()
    panel.draw(4)
    Shell.events.trigger("post_execute")
    assert [data["text/plain"] for data in later[1:]] == [""]  # taken back, and no more
