"""A page at the other end: finds a panel's controls and sends them what a page may send, allowed or not."""

from __future__ import annotations

import random
from typing import Any

import ipywidgets as widgets

from glora_lab.page.closing import tree
from glora_lab.page.controls.widgets import Chosen, SelectMultiple, Steady
from glora_lab.panels import Panel

SHOWN_ONLY = (widgets.HTML, widgets.Label, widgets.Output, widgets.IntProgress)
ANYTHING = (None, "", "zzz", "1", -1, 10**9, -(10**9), 1.5, True, [], {}, ["x"], float("nan"))  # of no use to most


def controls(panel: Panel) -> list[widgets.Widget]:
    """All that a reader can move or press, in an order that is the same every time."""
    inside = (widget for widget in tree(panel) if not isinstance(widget, SHOWN_ONLY))
    kinds = (widgets.Button, widgets.ValueWidget)
    return [widget for widget in inside if isinstance(widget, kinds) or widget.has_trait("selected")]


def name_of(control: widgets.Widget) -> str:
    return f"{type(control).__name__} {getattr(control, 'description', '')}".strip()


def send(widget: widgets.Widget, **state: Any) -> None:
    """What a page sends when a reader moves the control; ipywidgets would log what this raises, and go on."""
    widget.set_state(state)


def sent(control: widgets.Widget) -> str:
    """The name of what a page sends of this control."""
    if control.has_trait("selected"):
        return "selected"
    return "index" if isinstance(control, Chosen | SelectMultiple) else "value"


def press(button: widgets.Button) -> None:
    button._handle_button_msg(button, {"event": "click"}, [])


def allowed(control: Steady, dice: random.Random) -> Any:
    """Something that a reader can move this control to; a text stays as it is."""
    if control.has_trait("selected"):
        k = control.grid["k"]
        return [dice.randrange(k), dice.randrange(k)]
    if isinstance(control, Chosen):
        return dice.randrange(len(control.options)) if control.options else None
    if isinstance(control, SelectMultiple):
        return [place for place in range(len(control.options)) if dice.random() < 0.5]
    if isinstance(control, widgets.Checkbox | widgets.ToggleButton):
        return dice.random() < 0.5
    if isinstance(control, widgets.FloatLogSlider):
        return control.base ** dice.uniform(control.min, control.max)
    if isinstance(control, widgets.FloatSlider):
        return dice.uniform(control.min, control.max)
    if isinstance(control, widgets.Text):
        return control.value
    return dice.randint(control.min, control.max)
