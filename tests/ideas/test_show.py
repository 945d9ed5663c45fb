"""`show`: the picture of a record as plain data, with the same in words."""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ET
from unittest import mock

import pytest
from nbconvert import HTMLExporter
from nbformat.v4 import new_code_cell, new_notebook, new_output

from glora_lab.page.figure_slot import PLOTLY, SVG
from glora_lab.page.sweep import Sweep
from glora_lab.page.unattended import STATIC
from glora_lab.panels import PathPanel, show
from glora_lab.records import Cost, CostReport, Record

REPORT = CostReport((Cost("LoRA", "LoRA", 10, 1, 2048, 3, 12, 1.0),), model="tiny")


def shown(what: object) -> list:
    with mock.patch("glora_lab.ideas.show.display") as display:
        show(what)
    return [call.args[0] for call in display.call_args_list]


def test_a_cost_report_is_a_picture_and_its_words() -> None:
    picture, words = shown(REPORT)
    assert picture[PLOTLY]["layout"]["title"]["text"] == "<b>LoRA</b> on tiny: 10 FLOPs a step, 2 KiB kept"
    assert picture["text/plain"] in words["text/html"] and "2 KiB kept for backward" in picture["text/plain"]


def test_the_picture_is_there_for_pages_without_plotly_too() -> None:
    picture, _ = shown(REPORT)
    svg = ET.fromstring(picture[SVG])
    assert svg.get("aria-label") == "LoRA on tiny: 10 FLOPs a step, 2 KiB kept"


def test_an_exported_page_shows_every_figure_and_asks_nobody_for_it() -> None:
    """nbconvert's page knows nothing of plotly's type."""
    picture, words = shown(REPORT)
    outputs = [new_output("display_data", data=data) for data in (picture, words)]
    page, _ = HTMLExporter().from_notebook_node(new_notebook(cells=[new_code_cell("show(report)", outputs=outputs)]))
    (shown_picture,) = re.findall(r'<img[^>]* src="data:image/svg\+xml;base64,([^"]+)"', page)
    assert base64.b64decode(shown_picture).decode() == picture[SVG]
    assert not re.findall(r'(?:href|src)="http', picture[SVG])


def test_a_still_panel_shows_its_pictures_there_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STATIC, "1")
    panel = PathPanel()
    assert not panel.figure._output.outputs  # or a saved notebook would hold the picture twice
    with mock.patch("glora_lab.page.panel.display") as display:
        panel._ipython_display_()
    (sweep,) = (call.args[0] for call in display.call_args_list if isinstance(call.args[0], Sweep))
    pictures = [svg for frame in sweep.frames for picture in frame for svg in picture.stills]
    assert len(pictures) > 1 and all(picture.startswith("<svg") for picture in pictures)
    panel.close()


@pytest.mark.parametrize("what", [REPORT.rows[0], {}, "LoRA"])
def test_what_has_no_picture_is_refused(what: Record | object) -> None:
    with pytest.raises(ValueError, match=r"has no picture; these have one: .*CostReport"):
        shown(what)
