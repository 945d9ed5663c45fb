"""Five rows, one per path: its mode as buttons, the term it stands for, the parameters it has."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from glora_lab.adapters.glora.paths import MODES, PATHS
from glora_lab.drawing.equation import PATH_SAYS
from glora_lab.drawing.inks import ink
from glora_lab.drawing.theme import PATH_COLORS
from glora_lab.page.controls import widgets
from glora_lab.training.in_turn import in_turn

from .widgets import ToggleButtons

TERMS = {
    "A": ("W<sub style='line-height:0'>0</sub>⊙A", "scales the weight"),
    "B": ("B", "adds to the weight, as LoRA does"),
    "C": ("W<sub style='line-height:0'>0</sub>·C", "adds to the bias, through the weight"),
    "D": ("b<sub style='line-height:0'>0</sub>⊙D", "scales the bias"),
    "E": ("E", "adds to the bias"),
}
MODE_SAYS = {
    "lora": "lora: a product of two thin matrices, as wide as the rank.",
    "vector": "vector: one number for each channel.",
    "constant": "constant: one number for the whole layer.",
    "none": "none: the path is off.",
}
PRODUCT_TERM = ("W<sub style='line-height:0'>0</sub>·A", "multiplies the weight")  # A's in the product form
DEFAULT = {"A": "lora", "B": "lora", "C": "lora", "D": "constant", "E": "constant"}
PRESETS: Mapping[str, Mapping[str, str]] = {
    "LoRA (B alone)": {"B": "lora"},
    "A + B": {"A": "lora", "B": "lora"},
    "all paths": {"A": "lora", "B": "lora", "C": "lora", "D": "vector", "E": "vector"},
    "SSF (A, D, E vector)": {"A": "vector", "D": "vector", "E": "vector"},
    "(IA)³-like (A, D vector)": {"A": "vector", "D": "vector"},
    "BitFit (E vector)": {"E": "vector"},
    "C vector": {"C": "vector"},
}


class ModeControls(widgets.VBox):
    """One row of buttons per path; `modes` is what they say, `set_modes` moves all with one call back."""

    def __init__(self, modes: Mapping[str, str], on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._quiet = False
        self.buttons = {path: self._buttons(path, modes.get(path, "none")) for path in PATHS}
        self._notes = {path: widgets.HTML() for path in PATHS}
        rows = [widgets.HBox([self.buttons[path], self._notes[path]]) for path in PATHS]
        for path, line in zip(PATHS, rows, strict=True):
            line.add_class(f"glora-path-{path}")  # lit with all else of its path: page/light.js
        super().__init__(rows)
        self.add_class("glora-modes")
        self.show_params({}, {})

    @property
    def modes(self) -> dict[str, str]:
        return {path: buttons.value for path, buttons in self.buttons.items()}

    @in_turn
    def set_modes(self, modes: Mapping[str, str]) -> None:
        """Set all five; a path that is missing is switched off."""
        self._quiet = True
        try:
            for path, buttons in self.buttons.items():
                buttons.value = modes.get(path, "none")
        finally:
            self._quiet = False
        self._on_change()

    def show_params(self, params: Mapping[str, int], inert: Mapping[str, str], form: str = "elementwise") -> None:
        """Write beside each path how many parameters it has, or that it can do nothing (the equation says why).

        `form` is A's, "elementwise" or "product".
        """
        for path, note in self._notes.items():
            term, does = PRODUCT_TERM if path == "A" and form == "product" else TERMS[path]
            count = f"<b>{params[path]:,}</b>" if path in params else ""
            why = f' title="{html.escape(inert[path], quote=True)}"' if path in inert else ""
            counted = f'<span class="glora-count">{"<b>inert</b>" if why else count}</span>'
            term = f'<b class="glora-term" style="color:{ink(PATH_COLORS[path])}">{term}</b>'
            note.value = f'<div{why}>{counted}{term}<span class="glora-does">{does}</span></div>'

    def _buttons(self, path: str, mode: str) -> ToggleButtons:
        row = choice(path, MODES[path], PATH_SAYS[path], {mode: MODE_SAYS[mode] for mode in MODES[path]})
        row.value = mode
        row.observe(self._changed, "value")
        return row

    @in_turn
    def _changed(self, _: object) -> None:
        if not self._quiet:
            self._on_change()


def choice(
    description: str, options: Iterable[str], says: str = "", each: Mapping[str, str] = MappingProxyType({})
) -> ToggleButtons:
    """Buttons in a row beside their label, none of them cut off; `says` is what is chosen, `each` what an option is."""
    options = list(options)
    style = {"button_width": "auto", "description_width": "initial"}
    tooltips = [each[option] for option in options] if each else []
    return ToggleButtons(options=options, description=description, says=says, tooltips=tooltips, style=style)
