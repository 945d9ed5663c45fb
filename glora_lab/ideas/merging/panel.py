"""MergePanel: merge an adapter and take it out again, in one precision or another, and see what is left of the base."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import ipywidgets as widgets
from peft import PeftModel
from torch import nn

from glora_lab.adapters.tuner.layer import LabLayer
from glora_lab.adapters.view import adapted_layers
from glora_lab.drawing.equation import equation
from glora_lab.models import load_model
from glora_lab.page.controls.example import LAYER, constant_paths, linear_layers, named_layer
from glora_lab.page.controls.modes import choice
from glora_lab.page.controls.widgets import WIDE, FloatSlider, IntSlider, layer_menu
from glora_lab.page.figure_slot import FigureSlot
from glora_lab.page.panel import Panel, guarded_about

from .figure import draw_merge_report
from .measure import merge_report
from .record import MergeReport

PRECISIONS = ("float32", "float16", "bfloat16")
EXAMPLE, TRAINED = "example", "this model's adapter"
MODES: Mapping[str, str] = {"A": "vector", "B": "vector", "D": "vector", "E": "vector"}  # stock PEFT can say these
VALUE = "The value of every entry of the vectors A and D; at −1 the merged weight is zero."
CYCLES = "How often the adapter is merged and taken out again."

SLIDER: Mapping[str, Any] = {
    "continuous_update": False,
    "style": WIDE,
    "layout": {"width": "420px", "margin": "2px 12px 2px 0"},
}


class MergePanel(Panel):
    """A layer, a precision, the value of A and a number of cycles → the drift of the base, ours beside stock PEFT's.

    Args:
        model: the model whose layer is merged, left as it is; digits-vit by default. With an adapter on it the panel
            starts on that adapter; else, or where "example" is chosen, all entries of the vectors A and D have the
            value of a slider, and those of B and E are small random numbers.
        layer: a layer's name or an unambiguous end of one; the first adapted, else the first linear one.
        cycles: where that slider starts.

    State: `report` (MergeReport of the layer that is shown). What cannot be merged is said, and the last report stays.
    """

    report: MergeReport | None

    def __init__(self, model: nn.Module | None = None, layer: str | None = None, *, cycles: int = 100) -> None:
        super().__init__()
        self.report = None
        self._model = load_model("digits-vit") if model is None else model
        self._adapted = adapted_layers(self._model)
        names = list(self._adapted) or linear_layers(self._model)
        self.layer_choice = layer_menu(names, named_layer(names, layer))
        self.values = choice("values", [TRAINED, EXAMPLE] if self._adapted else [EXAMPLE], "Whose values are merged.")
        self.values.layout.display = None if self._adapted else "none"  # no choice there
        self.precision = choice(
            "precision", PRECISIONS, "The numbers that the base weight is kept in while it is merged."
        )
        self.precision.value = "bfloat16"
        self.a = FloatSlider(-0.5, min=-1.5, max=0.5, step=0.01, description="A and D", says=VALUE, **SLIDER)
        self.cycles = IntSlider(cycles, 1, max(100, cycles), description="cycles", says=CYCLES, **SLIDER)
        self.figure = FigureSlot(height=400)
        self._equation = widgets.HTML()
        self._arrange()
        self._update()

    def _settings(self) -> dict[str, Any]:
        numbers = {"precision": self.precision, "a": self.a, "cycles": self.cycles}
        return {"layer": self.layer_choice, **numbers, "values": self.values}

    def _arrange(self) -> None:
        self.arrange(
            title=self._equation,
            controls=[self.precision, self.a, self.cycles],
            more=[self.layer_choice, self.values],
            picture=[self.figure],
        )
        for control in (self.layer_choice, self.values, self.precision, self.cycles):
            control.observe(self._change, "value")
        self.a.observe(self._move_a, "value")

    @guarded_about("settings")
    def _change(self, _: object) -> None:
        self._update()

    @guarded_about("settings")
    def _move_a(self, _: object) -> None:
        """The slider is the example's: to move it is to ask for that."""
        if self.values.value == EXAMPLE:
            self._update()
        else:
            self.values.value = EXAMPLE  # which updates

    @guarded_about("settings")
    def _update(self) -> None:
        example, layer = self.values.value == EXAMPLE, self.layer_choice.value
        settings: dict[str, Any] = {"cycles": self.cycles.value, "dtype": self.precision.value}
        self._equation.value = equation(MODES) if example else ""
        try:
            if example:
                alone = merge_report(self._example(layer), layer=LAYER, **settings)
                self.report = replace(alone, rows=tuple(replace(row, layer=layer) for row in alone.rows))
            else:
                self.report = merge_report(self._model, layer=layer, **settings)
        except ValueError as refusal:
            self.say(refusal)
            return
        self.figure.show(draw_merge_report(self.report))

    def _example(self, layer: str) -> PeftModel:
        adapted: Any = self._adapted.get(layer)
        with adapted.original() if isinstance(adapted, LabLayer) else nullcontext():
            target = self._model.get_submodule(layer) if adapted is None else adapted.get_base_layer()
            return constant_paths(target, MODES, {"A": self.a.value, "D": self.a.value}, seed=0)
