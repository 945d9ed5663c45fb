"""MergePanel: merge an adapter and take it out again, or two in turn, and see what is left of the base."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from peft import PeftModel
from torch import nn

from glora_lab.adapters.tuner.layer import LabLayer
from glora_lab.adapters.view import adapted_layers
from glora_lab.arguments import check_positive_int
from glora_lab.drawing.equation import equation
from glora_lab.drawing.picture import Picture
from glora_lab.page.controls import widgets
from glora_lab.page.controls.example import LAYER, constant_paths, linear_layers, named_layer
from glora_lab.page.controls.modes import choice
from glora_lab.page.controls.widgets import WIDE, FloatSlider, IntSlider, layer_menu, show_only_if
from glora_lab.page.figure_slot import FigureSlot
from glora_lab.page.given import given_model
from glora_lab.page.panel import Panel, guarded_about

from .figure import draw_merge_report
from .figure_order import draw_merge_order
from .figure_output import draw_merge_errors
from .measure import merge_report
from .measure_order import merge_order
from .record import MergeOrder, MergeReport

PRECISIONS = ("float32", "float16", "bfloat16")
EXAMPLE, TRAINED = "example", "this model's adapter"
BASE, OUTPUT, TWO = "the base", "the output", "two adapters"
ABOUT = {
    BASE: "the base: how far weight and bias are from what they were.",
    OUTPUT: "the output: what rounding takes of the adapter's work.",
    TWO: "two adapters: merged together, and one after the other.",
}
MODES: Mapping[str, str] = {"A": "vector", "B": "vector", "D": "vector", "E": "vector"}  # stock PEFT can say these
VALUE = "The value of every entry of the vectors A and D; at −1 the merged weight is zero."
CYCLES = "How often the adapter is merged and taken out again."

SLIDER: Mapping[str, Any] = {
    "continuous_update": False,
    "style": WIDE,
    "layout": {"width": "420px", "margin": "2px 12px 2px 0"},
}


class MergePanel(Panel):
    """Precision, the value of A, cycles → the drift of the base, ours beside stock PEFT's; two adapters at once.

    Or the error of the output; or what two adapters come to that are merged one after the other.

    Args:
        model: the model whose layer is merged, left as it is; digits-vit by default. With an adapter on it the panel
            starts on that adapter; else, or where "example" is chosen, all entries of the vectors A and D have the
            value of a slider, and those of B and E are small random numbers.
        layer: a layer's name or an unambiguous end of one; the first adapted, else the first linear one.
        cycles: where that slider starts.

    Raises:
        ValueError: for an unknown layer or an argument that cannot be.

    State: `report` (MergeReport of the layer that is shown) and, once it was asked for, `order` (its MergeOrder). What
    cannot be merged is said, and the last of both stay.
    """

    moves = MappingProxyType({"precision": ("float32", "float16", "bfloat16")})
    report: MergeReport | None
    order: MergeOrder | None

    def __init__(self, model: nn.Module | None = None, layer: str | None = None, *, cycles: int = 100) -> None:
        super().__init__()
        check_positive_int("cycles", cycles)
        self.report, self.order = None, None
        self._model = given_model(model)
        self._adapted = adapted_layers(self._model)
        names = list(self._adapted) or linear_layers(self._model)
        self.layer_choice = layer_menu(names, named_layer(names, layer))
        self.values = choice("values", [TRAINED, EXAMPLE] if self._adapted else [EXAMPLE], "Whose values are merged.")
        show_only_if(bool(self._adapted), self.values)  # else there is no choice
        self.about = choice("look at", list(ABOUT), "What the picture is about.", ABOUT)
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
        return {"layer": self.layer_choice, "about": self.about, **numbers, "values": self.values}

    def _arrange(self) -> None:
        self.arrange(
            title=self._equation,
            controls=[self.about, self.a, self.precision, self.cycles],
            more=[self.layer_choice, self.values],
            picture=[self.figure],
        )
        for control in (self.about, self.layer_choice, self.values, self.precision, self.cycles):
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
        self._equation.value = equation(MODES) if self.values.value == EXAMPLE else ""
        two = self.about.value == TWO
        for control in (self.precision, self.cycles):  # two adapters are merged once, and without rounding
            control.disabled = two
        try:
            drawn = self._order() if two else self._report()
        except ValueError as refusal:
            self.say(refusal)
            return
        self.figure.show(drawn)

    def _report(self) -> Picture:
        layer = self.layer_choice.value
        settings: dict[str, Any] = {"cycles": self.cycles.value, "dtype": self.precision.value}
        if self.values.value == EXAMPLE:
            alone = merge_report(self._example(layer), layer=LAYER, **settings)
            self.report = replace(alone, rows=tuple(replace(row, layer=layer) for row in alone.rows))
        else:
            self.report = merge_report(self._model, layer=layer, **settings)
        return draw_merge_report(self.report) if self.about.value == BASE else draw_merge_errors(self.report)

    def _order(self) -> Picture:
        layer = self.layer_choice.value
        if self.values.value == EXAMPLE:
            self.order = replace(merge_order(self._example(layer, "second"), LAYER), layer=layer)
        else:
            self.order = merge_order(self._model, layer)
        return draw_merge_order(self.order)

    def _example(self, layer: str, *others: str) -> PeftModel:
        adapted: Any = self._adapted.get(layer)
        values = {"A": self.a.value, "D": self.a.value}
        with adapted.original() if isinstance(adapted, LabLayer) else nullcontext():
            target = self._model.get_submodule(layer) if adapted is None else adapted.get_base_layer()
            return constant_paths(target, MODES, values, seed=0, names=("first", *others) if others else ("default",))
