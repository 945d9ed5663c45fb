"""What a page may send and a control cannot be: the control stays what it is, tells the page, and calls nobody."""

from __future__ import annotations

import math
from typing import Any
from unittest import mock

import ipywidgets as widgets
import pytest
from torch import nn
from traitlets import TraitError

from glora_lab.page.controls.widgets import (
    BoundedIntText,
    Checkbox,
    Dropdown,
    FloatLogSlider,
    FloatSlider,
    IntSlider,
    SelectionSlider,
    Text,
    ToggleButtons,
)
from glora_lab.panels import BlockPanel
from tests.page.driving import ANYTHING, send, sent

LETTERS = {"options": ["a", "b", "c"], "value": "b"}
NUMBERS = {"min": 0, "max": 5, "value": 3}
CONTROLS = [
    (Dropdown, LETTERS),
    (ToggleButtons, LETTERS),
    (SelectionSlider, LETTERS),
    (IntSlider, NUMBERS),
    (BoundedIntText, NUMBERS),
    (FloatSlider, NUMBERS),
    (FloatLogSlider, NUMBERS),
    (Checkbox, {"value": True}),
    (Text, {"value": "word"}),
]
SELECTIONS = (Dropdown, ToggleButtons, SelectionSlider)
KINDS = pytest.mark.parametrize(("kind", "start"), CONTROLS, ids=[kind.__name__ for kind, _ in CONTROLS])


def told(control: widgets.Widget, name: str = "value") -> list[Any]:
    """Filled with what an observer of the control is told."""
    values: list[Any] = []
    control.observe(lambda change: values.append(change["new"]), name)
    return values


@KINDS
@pytest.mark.parametrize("state", ANYTHING, ids=repr)
def test_whatever_a_page_sends_a_control_says_what_it_can_be(kind: type, start: dict[str, Any], state: Any) -> None:
    control = kind(**start)
    values = told(control)
    send(control, **{sent(control): state})
    value = control.value
    assert values in ([], [value])
    if kind in SELECTIONS:
        assert value in LETTERS["options"] and control.options[control.index] == control.label == value
    elif kind in (Checkbox, Text):
        assert type(value) is type(start["value"])
    else:
        least, most = (control.base**control.min, control.base**control.max) if kind is FloatLogSlider else (0, 5)
        assert math.isfinite(value) and least <= value <= most


@pytest.mark.parametrize("kind", SELECTIONS)
@pytest.mark.parametrize("name", ["value", "index", "label"])
def test_no_choice_leaves_the_choice_and_tells_nobody(kind: type, name: str) -> None:
    control = kind(**LETTERS)
    values = told(control)
    setattr(control, name, None)
    with control.hold_trait_notifications():
        setattr(control, name, None)
    assert (control.value, control.label, control.index, values) == ("b", "b", 1, [])


@KINDS
def test_the_page_is_told_what_the_control_says(kind: type, start: dict[str, Any]) -> None:
    control = kind(**start)
    with mock.patch.object(control, "send_state") as send_state:
        send(control, **{sent(control): {"no": "value"} if kind is not Checkbox else False})
    assert kind is Checkbox or [set(call.args[0]) for call in send_state.call_args_list] == [{sent(control)}]


def test_a_choice_that_is_gone_is_not_made() -> None:
    control = Dropdown(options=["a", "b", "c"], value="a")
    values = told(control)
    control.options = ["a", "b"]
    values.clear()
    send(control, index=2)  # pressed before the page heard
    assert (control.value, values) == ("a", [])
    with pytest.raises(TraitError, match="value not found"):
        control.value = "c"  # in Python the mistake is the caller's to see


def test_without_options_there_is_no_choice() -> None:
    control = Dropdown(**LETTERS)
    control.options = []
    assert (control.value, control.index) == (None, None)
    empty = Dropdown(options=[])
    empty.value = None
    empty.options = ["a"]
    empty.value = "a"
    empty.value = None
    assert empty.value == "a"


def test_what_a_handler_raises_is_not_taken_for_the_pages_mistake() -> None:
    control = IntSlider(**NUMBERS)
    control.observe(lambda _: 1 / 0, "value")
    with pytest.raises(ZeroDivisionError):
        send(control, value=4)


@pytest.mark.parametrize("state", [None, [], [1], [0, "x"], [0, 1, 2], "zzz", {"m": 1}, [7, 7], [-1, 0]], ids=repr)
def test_a_click_on_no_block_chooses_none(state: Any) -> None:
    chosen: list[int] = []
    blocks = BlockPanel(nn.ModuleDict({"layer": nn.Linear(4, 4)}), k=2, r=2).map
    if blocks.chooser is None:
        pytest.skip("no anywidget")
    blocks.select(1, 1)
    blocks._on_select = lambda: chosen.append(1)
    chosen.clear()
    send(blocks.chooser, selected=state)
    assert (blocks.selected, blocks.chooser.selected, chosen) == ((1, 1), [1, 1], [])
