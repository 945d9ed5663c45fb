"""What can be asked, what fits as a guess, and the control that takes it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from glora_lab.arguments import check_flag, check_is, check_kind, check_number, check_text, refuse
from glora_lab.page.controls import widgets
from glora_lab.page.controls.widgets import FloatLogSlider, FloatSlider, IntSlider, Text, ToggleButtons

from .record import Guessed

FINE = 200  # steps of an axis that is not one of whole numbers
LABEL = "your guess"
DRAG = "Drag the mark, move it with the arrow keys, or type a number; the button, or Enter, makes the guess."
CHOOSE = "The one that you choose is your guess."
TYPE = "Type your guess; Enter makes it."


def checked(
    question: str, between: tuple[float, float] | None, options: Sequence[str], log: bool, unit: str
) -> Guessed:
    """The question, as `Guess` takes it; what cannot be asked is refused."""
    if not isinstance(question, str) or not question:
        raise refuse("question", question, "must be a text")
    check_flag("log", log)
    check_text("unit", unit)
    check_is("between", between, (tuple, list), "must be two numbers")
    check_kind("options", options, (tuple, list), "must be at least two texts")
    options = tuple(options)
    if options and between:
        raise refuse("between", between, "must be left out where there are `options`")
    if options and (len(set(options)) < 2 or not all(isinstance(option, str) and option for option in options)):
        raise refuse("options", options, "must be at least two texts")
    if between is not None:
        if len(between) != 2:
            raise refuse("between", between, "must be two numbers")
        for end in between:
            check_number("between", end)
        if not (0 if log else -float("inf")) < between[0] < between[1]:
            raise refuse("between", between, f"must rise{', from above 0 on a `log` axis' if log else ''}")
        between = (between[0], between[1])
    return Guessed(question, between, options, log, unit)


def fitting(record: Guessed, name: str, guess: Any) -> float | str:
    """The guess as it is kept, on a logarithmic axis with two digits; one that does not fit is refused."""
    if record.between:
        check_number(name, guess)
        if not record.between[0] <= guess <= record.between[1]:
            raise refuse(name, guess, f"must be between {record.between[0]} and {record.between[1]}")
        return float(f"{guess:.2g}") if record.log else guess
    if not isinstance(guess, str) or not guess.strip():
        raise refuse(name, guess, "must be a text")
    if record.options and guess not in record.options:
        raise refuse(name, guess, f"must be one of {', '.join(map(repr, record.options))}")
    return guess.strip()


def control_of(record: Guessed) -> widgets.ValueWidget:
    """A slider, buttons or a field; a choice begins with none."""
    shared: dict[str, Any] = {"description": LABEL, "style": {"description_width": "80px"}}
    if record.options:
        shared["style"]["button_width"] = "auto"
        layout = {"display": "flex", "flex_flow": "row wrap", "width": "auto", "grid_gap": "6px"}
        return ToggleButtons(options=record.options, value=None, says=CHOOSE, **shared, layout=layout)
    if record.between is None:
        return Text(continuous_update=False, says=TYPE, **shared, layout={"width": "400px"})
    low, high = record.between
    shared |= {"continuous_update": False, "says": DRAG, "layout": {"width": "640px", "max_width": "100%"}}
    if record.log:
        ends: dict[str, Any] = {
            "min": math.log10(low),
            "max": math.log10(high),
            "step": (math.log10(high) - math.log10(low)) / FINE,
        }
        digits = ".1e" if low < 1e-3 else ".2r"
        return FloatLogSlider(value=(low * high) ** 0.5, base=10, **ends, readout_format=digits, **shared)
    if isinstance(low, int) and isinstance(high, int) and high - low > 1:
        return IntSlider(value=(low + high) // 2, min=low, max=high, **shared)
    return FloatSlider(value=(low + high) / 2, min=low, max=high, step=(high - low) / FINE, **shared)
