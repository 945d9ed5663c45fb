"""Boxes to tick that are one setting: which of these names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import traitlets

from . import widgets
from .widgets import Checkbox


class Ticks(widgets.VBox):
    """`value` is the list of names that are ticked, in the order of the boxes; `boxes` are there by name.

    `on_change` is called when boxes are ticked, and not when others are offered.
    """

    value = traitlets.List(traitlets.Unicode())

    def __init__(self, on_change: Callable[[], None]) -> None:
        super().__init__()
        self.boxes: Mapping[str, Checkbox] = {}
        self._on_change, self._setting = on_change, False
        self.observe(self._changed, "value")

    def _offer(self, boxes: Mapping[str, Checkbox]) -> None:
        """From now on these are the boxes."""
        self.boxes = boxes
        for box in boxes.values():
            box.observe(self._box_changed, "value")
        self._setting, self.value = True, self._ticked()
        self._setting = False

    def _ticked(self) -> list[str]:
        return [name for name, box in self.boxes.items() if box.value]

    def _changed(self, change: dict[str, Any]) -> None:
        if not self._setting:
            self._setting = True
            for name, box in self.boxes.items():
                box.value = name in change["new"]
            self._setting = False
            self._on_change()

    def _box_changed(self, _: object) -> None:
        if not self._setting:
            self.value = self._ticked()
