"""The controls of the panels: ipywidgets' own, which explain themselves and keep what they say whatever a page sends.

A page may send what cannot be: no choice at all, an option that was there a moment ago, a word for a number. ipywidgets
takes the first, so that every handler would meet None, and answers the others with an exception that no reader sees
while the page goes on showing what it sent. Here a control that has a choice keeps one, a number is finite, and what
cannot be is answered with what is, so that page and kernel say the same. No handler is called for it.

What a control does is one sentence, `says`, given where the control is made. A page shows it to who points at the
control or reaches it with the keyboard (`page/explain.js`); without that script it is the label's own tooltip.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets
from ipywidgets import Box, DOMWidget, Layout, ValueWidget, Widget, jsdlink
from traitlets import Int, TraitError, validate

from glora_lab.page.actions import one_action

from .looks import Frugal

__all__ = ["Box", "DOMWidget", "Layout", "ValueWidget", "Widget", "jsdlink"]  # for those who import all from here

FORGETFUL = (widgets.Checkbox, widgets.Dropdown, widgets.Text)  # ipywidgets 8 keeps their tooltips from the page
SAYS = "says:"  # so that theirs is in a class's name, which no-break spaces leave one name
WIDE = {"description_width": "initial"}  # a control's label as wide as its words


def row(*controls: widgets.Widget, **layout: str) -> HBox:
    """Controls side by side; where the page is narrow they stand in several lines."""
    return HBox(controls, layout={"flex_flow": "row wrap", **layout})


def show_only_if(shown: bool, *controls: widgets.DOMWidget) -> None:
    """Controls that have nothing to say now are away; the layout that they share with others stays as it is."""
    for control in controls:
        control.remove_class("glora-away") if shown else control.add_class("glora-away")


class Explained(Frugal):
    """Before a widget among the bases: `says` is the sentence that explains it, a tooltip in either ipywidgets."""

    def __init__(self, *args: Any, says: str = "", **settings: Any) -> None:
        super().__init__(*args, **settings, **({_tooltip(type(self)): says} if says else {}))
        if says and isinstance(self, FORGETFUL):
            self.add_class(SAYS + says.replace(" ", "\N{NO-BREAK SPACE}"))

    @property
    def says(self) -> str:
        return getattr(self, _tooltip(type(self))) or ""


def _tooltip(kind: type) -> str:
    """ipywidgets 7 has another name for it where a widget has a description."""
    return "tooltip" if hasattr(kind, "tooltip") else "description_tooltip"


class Steady(Frugal):
    """Before a widget among the bases: what a page sends and the widget cannot be is answered with what it is."""

    def set_state(self, sync_data: dict[str, Any]) -> None:
        try:
            with one_action(self, from_page=True):
                super().set_state(sync_data)
        except TraitError:
            self.send_state([name for name in sync_data if name in self.keys])

    def notify_change(self, change: Any) -> None:
        with one_action(self):
            super().notify_change(change)


class Chosen(Steady):
    """A selection that keeps its choice where None is asked for; one that began without a choice may stay so."""

    def __setattr__(self, name: str, value: Any) -> None:
        """A trait that may be None is not validated when None is assigned, so the assignment itself is left out."""
        if value is None and name in ("index", "value", "label") and self._place() is not None:
            return
        super().__setattr__(name, value)

    @validate("index")
    def _validate_index(self, proposal: Any) -> Any:
        """A message is validated when it is read, and `index` holds what it says by then."""
        return self._place() if proposal.value is None else super()._validate_index(proposal)

    def _place(self) -> int | None:
        """Where the choice stands among the options."""
        values = getattr(self, "_options_values", ())
        if self.index is not None and self.index < len(values):
            return self.index
        return next((place for place, value in enumerate(values) if self.equals(value, self.value)), None)


class Finite(Steady):
    """A number within its bounds: ipywidgets compares with them, and nan is neither above nor below."""

    @validate("value")
    def _validate_value(self, proposal: Any) -> Any:
        if math.isnan(proposal.value):
            raise TraitError(f"`value` (={proposal.value}) must be a number")
        return super()._validate_value(proposal)


class HTML(Frugal, widgets.HTML):
    pass


class HBox(Frugal, widgets.HBox):
    pass


class VBox(Frugal, widgets.VBox):
    pass


class Output(Frugal, widgets.Output):
    pass


class Dropdown(Explained, Chosen, widgets.Dropdown):
    pass


class ToggleButtons(Explained, Chosen, widgets.ToggleButtons):
    pass


class SelectionSlider(Explained, Chosen, widgets.SelectionSlider):
    pass


class SelectMultiple(Explained, Steady, widgets.SelectMultiple):
    pass


class IntSlider(Explained, Steady, widgets.IntSlider):
    pass


class BoundedIntText(Explained, Steady, widgets.BoundedIntText):
    pass


class FloatSlider(Explained, Finite, widgets.FloatSlider):
    pass


class FloatLogSlider(Explained, Finite, widgets.FloatLogSlider):
    pass


class Checkbox(Explained, Steady, widgets.Checkbox):
    pass


class ToggleButton(Explained, Steady, widgets.ToggleButton):
    pass


class Text(Explained, Steady, widgets.Text):
    pass


class Button(Explained, widgets.Button):
    pass


class IntProgress(Explained, widgets.IntProgress):
    pass


class Again(Explained, Steady, widgets.Button):
    """A button that draws anew: `value` is the seed, one more with each press."""

    value = Int(0)

    def __init__(self, label: str, seed: int = 0, says: str = "") -> None:
        super().__init__(description=label, icon="refresh", says=says, layout={"width": "auto"})
        self.value = seed
        self.on_click(self._pressed)

    def _pressed(self, _: object) -> None:
        self.value += 1


def layer_menu(
    layers: Sequence[str], value: str, *, width: int = 420, says: str = "The layer of the model that is shown."
) -> Dropdown:
    look: dict[str, Any] = {"style": WIDE, "layout": {"width": f"{width}px"}}
    return Dropdown(options=layers, value=value, description="layer", says=says, **look)


def tick(label: str, *, says: str, value: bool = True) -> Checkbox:
    look: dict[str, Any] = {"indent": False, "layout": {"width": "auto", "margin": "0 18px 0 0"}}
    return Checkbox(value=value, description=label, says=says, **look)


def again(
    label: str = "Draw other values", seed: int = 0, says: str = "Draws other random values; all settings stay."
) -> Again:
    return Again(label, seed, says)
