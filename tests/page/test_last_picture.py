"""A cell has its panel's pictures beside the widgets: the page hides them while the panel is there."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import nbformat
import plotly.graph_objects as go
import pytest
from nbconvert import HTMLExporter
from peft import get_peft_model

from glora_lab import GraloraConfig, load_model, panels
from glora_lab.drawing.picture import Picture
from glora_lab.page import last_picture
from glora_lab.page.figure_slot import FigureSlot
from glora_lab.page.panel import Panel

Shown = list[dict[str, Any]]
SVG_NAME = "http://www.w3.org/2000/svg"  # of the kind of picture, no address


class OneFigure(Panel):
    def __init__(self) -> None:
        super().__init__()
        self.slot = FigureSlot()
        self.arrange(picture=[self.slot])
        self.draw(1)

    def draw(self, n: int) -> None:
        self.slot.show(
            Picture(go.Figure(go.Scatter(y=[n]), layout={"title": {"text": f"figure {n}"}}), f"<{n}> it says")
        )


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shown]:
    """What the page was given for the second output, and for its later forms."""
    given: Shown = []

    def take(data: dict[str, Any], *, raw: bool, display_id: str) -> None:
        assert raw
        given.append({**data, "id": display_id})

    monkeypatch.setattr(last_picture, "display", take)
    monkeypatch.setattr(last_picture, "update_display", take)
    monkeypatch.setattr(last_picture, "SECONDS_BETWEEN", 0.05)
    yield given


def pictures(data: dict[str, Any]) -> list[str]:
    images = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', data["text/html"])
    return [base64.b64decode(image).decode() for image in images]


def test_the_pictures_stand_in_the_cell_with_their_words(shown: Shown) -> None:
    panel = OneFigure()
    panel._ipython_display_()
    (svg,) = pictures(shown[0])
    assert "figure 1" in svg
    assert 'alt="&lt;1&gt; it says"' in shown[0]["text/html"] and "OneFigure as it was" in shown[0]["text/html"]
    assert shown[0]["text/plain"] == "<1> it says"
    panel.close()


@pytest.mark.parametrize("alone", [True, False])
def test_a_phone_has_its_form_where_the_notebook_is_made_for_others(
    shown: Shown, monkeypatch: pytest.MonkeyPatch, alone: bool
) -> None:
    monkeypatch.setattr(last_picture, "unattended", lambda: alone)
    panel = OneFigure()
    panel._ipython_display_()
    phone = re.findall(r'<source media="\(max-width: 600px\)" srcset="data:[^,]+,([^"]+)">', shown[0]["text/html"])
    assert [re.findall('<svg[^>]* width="([0-9]+)"', base64.b64decode(svg).decode()) for svg in phone] == [
        ["380"]
    ] * alone
    panel.close()


def test_they_follow_the_panel_a_little_later_and_not_each_time(shown: Shown) -> None:
    async def use() -> None:
        panel = OneFigure()
        panel._ipython_display_()
        for n in range(2, 22):
            panel.draw(n)
            panel.slot.flush()
        await asyncio.sleep(0.3)
        panel.close()
        await asyncio.sleep(0.2)

    asyncio.run(use())
    first, *later, last = shown
    assert 1 <= len(later) <= 4 and "figure 21" in pictures(later[-1])[0]
    assert {data["id"] for data in shown} == {first["id"]}
    assert "text/html" not in last  # a closed panel is not lost


def test_a_picture_that_moves_in_the_page_is_followed_as_well(shown: Shown) -> None:
    async def use() -> list[str]:
        panel = panels.BlockPanel(k=2)
        panel._ipython_display_()
        seen = []
        for change in (partial(setattr, panel.controls.k, "value", 4), partial(panel.select, 1, 1)):
            change()
            await asyncio.sleep(0.3)
            seen.append([widget.picture.words for widget in panel.pictured()])
            assert shown[-1]["text/plain"] == "\n".join(seen[-1])
        panel.map.apart.value = False  # what was below is away
        await asyncio.sleep(0.3)
        assert shown[-1]["text/plain"] == panel.map.picture.words
        panel.close()
        return seen[0] + seen[1]

    before, cut, *parts = asyncio.run(use())
    assert "2×2 pairs" in shown[0]["text/plain"] and "4×4 pairs" in before
    assert cut == before and len(parts) == 2  # in the order of the page


def test_a_place_that_has_no_picture_at_first_or_later_is_followed_as_well(shown: Shown, tmp_path: Path) -> None:
    get_peft_model(load_model("digits-vit"), GraloraConfig(target_modules=["fc1"])).save_pretrained(tmp_path)

    async def use() -> None:
        panel = panels.XrayPanel()
        panel._ipython_display_()
        assert shown[-1]["text/plain"] == ""
        panel.folder.value = str(tmp_path)
        await asyncio.sleep(0.3)
        assert panel.figure.summary and shown[-1]["text/plain"].startswith(panel.figure.summary)
        panel.folder.value = ""
        await asyncio.sleep(0.3)
        assert shown[-1]["text/plain"] == ""
        panel.close()

    asyncio.run(use())


def test_a_panel_that_was_never_shown_tells_no_page(shown: Shown) -> None:
    panel = OneFigure()
    panel.draw(2)
    panel.close()
    assert shown == []


def test_colab_and_a_page_without_widgets_have_none(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    panel = OneFigure()
    monkeypatch.setenv("GLORA_LAB_STATIC", "1")
    panel._ipython_display_()
    monkeypatch.delenv("GLORA_LAB_STATIC")
    monkeypatch.setenv("COLAB_RELEASE_TAG", "test")
    panel._ipython_display_()
    assert shown == []
    panel.close()


def test_an_export_shows_the_pictures_and_asks_nobody(shown: Shown) -> None:
    panel = panels.ReachPanel()
    panel._ipython_display_()
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": panel.model_id}, "text/plain": repr(panel)}
    still = {kind: data for kind, data in shown[0].items() if kind != "id"}
    outputs = [nbformat.v4.new_output("display_data", data=data) for data in (view, still)]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("panel", outputs=outputs)])
    page, _ = HTMLExporter().from_notebook_node(notebook)
    assert pictures({"text/html": page}) == pictures(shown[0]) and len(pictures(shown[0])) == 2
    assert "http" not in still["text/html"].replace(SVG_NAME, "")
    panel.close()


def test_where_nobody_is_there_the_slider_is_in_the_cell_at_once(shown: Shown) -> None:
    panel = panels.BlockPanel()
    panel._ipython_display_()
    (data,) = shown
    assert 'type="range"' in data["text/html"] and data["text/plain"] == panel.map.picture.words
    panel.close()


def test_where_a_reader_is_there_it_comes_when_the_panel_was_left_alone(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(last_picture, "unattended", lambda: False)
    monkeypatch.setattr(last_picture, "SECONDS_ALONE", 0.1)
    monkeypatch.setattr(last_picture, "BETWEEN_FRAMES", 0.01)

    async def use() -> None:
        panel = panels.MergePanel(cycles=3)
        panel._ipython_display_()
        assert "range" not in shown[0]["text/html"]
        await asyncio.sleep(0.2)  # its frames are being made
        panel.cycles.value = 2
        until = asyncio.get_running_loop().time() + 30
        while 'type="range"' not in shown[-1]["text/html"] and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)  # what was begun before the change would be there by now
        panel.close()

    asyncio.run(use())
    *_, last, closed = shown
    assert sum('type="range"' in data.get("text/html", "") for data in shown) == 1
    assert last["text/html"].count(" 2 cycles") >= 3 and " 3 cycles" not in last["text/html"]
    assert "text/html" not in closed
