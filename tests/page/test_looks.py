"""Equal layouts and styles are one widget in a panel, and nobody changes what others wear."""

from __future__ import annotations

import ipywidgets as ipy
import pytest

from glora_lab.page.closing import close_all
from glora_lab.page.controls import widgets
from glora_lab.page.panel import Panel
from tests.page.instances import INSTANCES


class Rows(Panel):
    def __init__(self) -> None:
        super().__init__()
        self.rows = [widgets.HBox([widgets.HTML("a"), widgets.Button(description="b")]) for _ in range(3)]
        self.narrow = [widgets.HTML(layout={"width": "20px"}) for _ in range(2)]
        self.own = widgets.HTML(layout=widgets.Layout(width="20px"))
        self.arrange(picture=[*self.rows, *self.narrow, self.own])


def test_equals_are_one_and_a_layout_that_is_given_is_its_own() -> None:
    panel = Rows()
    plain = panel.rows[0].layout
    assert all(child.layout is plain for row in panel.rows for child in (row, *row.children))
    assert len({row.children[1].style for row in panel.rows}) == 1
    first, second = panel.narrow
    assert first.layout is second.layout is not plain and first.layout.width == "20px"
    assert panel.own.layout is not first.layout
    panel.own.layout.width = "30px"
    assert first.layout.width == "20px"
    panel.close()


def test_two_panels_share_nothing() -> None:
    one, other = Rows(), Rows()
    assert one.rows[0].layout is not other.rows[0].layout
    one.close()
    assert other.rows[0].layout.model_id in INSTANCES
    other.close()


def test_what_is_shared_refuses_to_change_and_says_what_to_do() -> None:
    panel = Rows()
    with pytest.raises(
        AttributeError, match=r"`width` .*'9px'.* layout that several .* widget.layout = {'width': '9px'}"
    ):
        panel.rows[0].layout.width = "9px"
    assert panel.rows[0].layout.width is None
    with pytest.raises(AttributeError, match="style that several widgets share"):
        panel.rows[0].children[1].style.button_color = "red"
    panel.rows[0].layout = {"width": "9px"}
    assert panel.rows[0].layout.width == "9px" and panel.rows[1].layout.width is None
    panel.close()


def test_a_part_that_is_closed_leaves_the_others_their_looks_and_the_panel_takes_them_along() -> None:
    before = set(INSTANCES)
    panel = Rows()
    closed = panel.rows[0].model_id
    close_all(panel.rows[0])
    assert panel.rows[1].layout.model_id in INSTANCES and closed not in INSTANCES
    panel.close()
    assert set(INSTANCES) == before


def test_outside_a_panel_everything_has_its_own() -> None:
    one, other = widgets.HTML(), widgets.HTML()
    assert one.layout is not other.layout and type(one.layout) is ipy.Layout
    for widget in (one, other):
        close_all(widget)
