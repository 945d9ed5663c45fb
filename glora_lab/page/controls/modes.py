"""Five rows, one per path: its mode as buttons, the term it stands for, the parameters it has."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping

import ipywidgets as widgets

from glora_lab.adapters.glora.paths import MODES, PATHS
from glora_lab.drawing.theme import PATH_COLORS
from glora_lab.training.in_turn import in_turn

from .widgets import ToggleButtons

TERMS = {
    "A": ("W<sub style='line-height:0'>0</sub>⊙A", "scales the weight"),
    "B": ("B", "adds to the weight, as LoRA does"),
    "C": ("W<sub style='line-height:0'>0</sub>·C", "adds to the bias, through the weight"),
    "D": ("b<sub style='line-height:0'>0</sub>⊙D", "scales the bias"),
    "E": ("E", "adds to the bias"),
}
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
        super().__init__(rows)
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

    def show_params(self, params: Mapping[str, int], inert: Mapping[str, str]) -> None:
        """Write beside each path how many parameters it has, or that it can do nothing (the equation says why)."""
        for path, note in self._notes.items():
            term, does = TERMS[path]
            count = f"<b>{params[path]:,}</b>" if path in params else ""
            why = f' title="{html.escape(inert[path], quote=True)}"' if path in inert else ""
            cells = (
                (f"min-width:56px;color:{PATH_COLORS[path]};font-weight:bold", term),
                ("min-width:84px;text-align:right;margin-right:14px", "<b>inert</b>" if why else count),
                ("", does),
            )
            spans = "".join(f'<span style="display:inline-block;{look}">{text}</span>' for look, text in cells)
            note.value = f'<div style="line-height:28px"{why}>{spans}</div>'

    def _buttons(self, path: str, mode: str) -> ToggleButtons:
        row = choice(path, MODES[path], button_width=84, label_width=24)
        row.value = mode
        row.layout.min_width = "396px"
        row.observe(self._changed, "value")
        return row

    @in_turn
    def _changed(self, _: object) -> None:
        if not self._quiet:
            self._on_change()


def choice(
    description: str, options: Iterable[str], *, button_width: int | None = None, label_width: int | None = None
) -> ToggleButtons:
    """Buttons in a row beside their label, none of them cut off."""
    return ToggleButtons(
        options=list(options),
        description=description,
        style={
            "button_width": f"{button_width}px" if button_width else "auto",
            "description_width": f"{label_width}px" if label_width else "initial",
        },
        layout={"display": "flex", "width": "auto", "margin": "2px 16px 2px 0", "grid_gap": "6px"},
    )
