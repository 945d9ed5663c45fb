"""A panel's named controls: what they say, whether they can say something else, and steps back and forth.

Decision: a panel names its controls once, in the order in which they are put back: what decides on another's options
comes before it, a choice that other moves would take back comes last. A control is anything with a trait `value`. All
else follows from the names, so that no panel has code of its own for a state.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import ipywidgets as widgets

from .actions import Action, action_under_way, one_action
from .controls.ticks import Ticks

SAME_MOVE = 0.5  # seconds: what a page sends of one control within them is one drag
MOST_STEPS = 100  # that can be taken back
Values: TypeAlias = dict[str, Any]


class Settings:
    """The named controls of a panel, and the steps that a reader took with them.

    `values` is what they say. One action is one step, whatever it changes, and so is one drag of a slider.
    """

    def __init__(self, controls: Mapping[str, Any], on_step: Callable[[], None]) -> None:
        self._controls, self._on_step = controls, on_step
        self._last: Action | None = None
        self._going_back = False
        self.begin()
        for name, control in controls.items():
            control.observe(partial(self._heard, name), "value")

    @property
    def values(self) -> Values:
        return {name: _read(control) for name, control in self._controls.items()}

    @property
    def can_undo(self) -> bool:
        return bool(self._past)

    @property
    def can_redo(self) -> bool:
        return bool(self._future)

    def begin(self) -> None:
        """From here on: what there is to undo begins now, and `reset` comes back to this."""
        self._now, self.start = self.values, self.values
        self._past: deque[Values] = deque(maxlen=MOST_STEPS)
        self._future: deque[Values] = deque(maxlen=MOST_STEPS)

    def put(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Set these, in one action. Name → why not, of those that cannot be; the others are set."""
        refused: dict[str, str] = {}
        with one_action(self):
            for _ in range(2):  # twice: what one control does to another is undone by the second
                for name, control in self._controls.items():
                    if name not in values or name in refused or _read(control) == values[name]:
                        continue
                    why = rule(control, values[name])
                    if why:
                        refused[name] = why
                    else:
                        _write(control, values[name])
        stays = [name for name in values if name not in refused and _read(self._controls[name]) != values[name]]
        return refused | dict.fromkeys(stays, "cannot be set beside the others")

    def undo(self) -> None:
        self._go(self._past, self._future)

    def redo(self) -> None:
        self._go(self._future, self._past)

    def _go(self, there: deque[Values], back: deque[Values]) -> None:
        here = self.values
        while there and there[-1] == here:
            there.pop()
        if not there:
            return
        aim = there.pop()
        self._going_back = True
        try:
            self.put(aim)
        finally:
            self._going_back, self._now, self._last = False, self.values, None
        if self._now != here:
            back.append(here)
        self._on_step()

    def _heard(self, name: str, change: Any) -> None:
        if self._going_back:
            return
        action = action_under_way()
        if not self._goes_on(action):
            self._past.append(dict(self._now))
            self._future.clear()
        self._last = action
        self._now[name] = _read(self._controls[name])
        self._on_step()

    def _goes_on(self, action: Action | None) -> bool:
        """Whether what is heard belongs to the last step."""
        last = self._last
        if action is None or last is None or action is last:
            return action is not None and action is last
        moves = action.of is last.of and hasattr(action.of, "continuous_update")
        return moves and action.from_page and action.began - last.ended < SAME_MOVE


def rule(control: Any, value: Any) -> str:
    """Why a control cannot have this value, as the end of a sentence that begins with its name; "" where it can."""
    if isinstance(control, Ticks):
        names = list(control.boxes)
        fits = isinstance(value, list) and all(name in names for name in value)
        return "" if fits else f"must be a list of names among {_listed(names)}"
    options = getattr(control, "_options_full", None)
    if options is not None:
        allowed = [_plain(one, label) for label, one in options]
        fits = any(type(value) is type(one) and value == one for one in allowed)
        return "" if fits else f"must be one of {_listed(allowed)}"
    if isinstance(control.value, bool):
        return "" if isinstance(value, bool) else "must be True or False"
    if isinstance(control.value, str):
        return "" if isinstance(value, str) else "must be text"
    return _rule_of_numbers(control, value)


def _rule_of_numbers(control: Any, value: Any) -> str:
    whole = isinstance(control.value, int)
    low, high = getattr(control, "min", 0), getattr(control, "max", math.inf)
    if isinstance(control, widgets.FloatLogSlider):
        low, high = control.base**low, control.base**high
    kind = int if whole else int | float
    if isinstance(value, kind) and not isinstance(value, bool) and low <= value <= high and value < math.inf:
        return ""
    bounds = f"from {low:g} to {high:g}" if high < math.inf else f"that is at least {low:g}"
    return f"must be {'an integer' if whole else 'a number'} {bounds}"


def _read(control: Any) -> Any:
    value = control.value
    return _plain(value, getattr(control, "label", None))


def _write(control: Any, value: Any) -> None:
    options = getattr(control, "_options_full", ())
    control.value = next((one for label, one in options if _plain(one, label) == value), value)


def _plain(value: Any, label: Any) -> Any:
    """A value as JSON has it; an option that JSON does not know is called by its label."""
    return value if is_plain(value) else label


def is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(one) for key, one in value.items())
    return value is None or isinstance(value, str | bool | int | float)


def _listed(options: Sequence[object]) -> str:
    return ", ".join(map(repr, options))
