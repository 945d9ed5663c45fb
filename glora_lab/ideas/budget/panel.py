"""BudgetPanel: what a configuration costs on a model, GLoRA beside LoRA, and the code to take away."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from peft import LoraConfig
from torch import nn

from glora_lab.adapters import GloraConfig
from glora_lab.adapters.stock.snippet import LIBRARIES, config_snippet
from glora_lab.adapters.view import adapted_layers
from glora_lab.arguments import check_choice
from glora_lab.drawing.equation import equation
from glora_lab.models import ARCHITECTURES, architecture, load_model, meta_model
from glora_lab.page.controls import widgets
from glora_lab.page.controls.code import code_to_copy
from glora_lab.page.controls.modes import DEFAULT, ModeControls, choice
from glora_lab.page.controls.targets import TargetControls
from glora_lab.page.controls.widgets import Dropdown, IntSlider
from glora_lab.page.figure_slot import FigureSlot
from glora_lab.page.given import check_model
from glora_lab.page.panel import Panel, guarded, guarded_about

from .figure import draw_path_budget
from .measure import budget_on, path_budget
from .record import PathBudget

RANK = "How wide the two thin matrices of a lora path are; LoRA has the same rank."
BIAS_FREE = {"drop": "drop: they are left out.", "add": "add: the layer is given a bias, which they make."}
SHIPPED, GIVEN = "digits-vit", "this model"


@functools.cache
def bare_model(name: str) -> nn.Module:
    """A well-known architecture without weights, built once and never adapted: building takes longer than counting."""
    return meta_model(architecture(name))


class BudgetPanel(Panel):
    """Model, target modules, rank and modes → parameters per path and layer, beside LoRA of the same rank.

    Args:
        model: a model to count on, beside digits-vit and the well-known architectures, which is left as it is; or the
            name of one of these, to start there.

    Raises:
        ValueError: for an unknown name, or what is no model.

    State: `config` (the GloraConfig), `budget` and `lora` (PathBudgets; without rows where nothing can be
    trained), `snippet` (the configuration as code).
    """

    moves = MappingProxyType({"rank": (1, 2, 4, 8, 16, 32, 64)})
    config: GloraConfig
    budget: PathBudget
    lora: PathBudget
    snippet: str

    def __init__(self, model: nn.Module | str | None = None) -> None:
        super().__init__()
        if isinstance(model, str):
            check_choice("model", model, (SHIPPED, *ARCHITECTURES))
        else:
            check_model("model", model)
        self._given = None if isinstance(model, str) else model
        self._loras: dict[tuple[object, ...], PathBudget] = {}  # LoRA's count does not change with the modes
        names = ([] if self._given is None else [GIVEN]) + [SHIPPED, *ARCHITECTURES]
        start = model if isinstance(model, str) else names[0]
        self.model_choice = Dropdown(
            options=names, value=start, description="model", says="The model whose layers are counted; none is loaded."
        )
        self.rank = IntSlider(8, 1, 64, description="rank", says=RANK, continuous_update=False)
        self.bias_free = choice(
            "C, E without a bias", list(BIAS_FREE), "What C and E do in a layer that has no bias.", BIAS_FREE
        )
        self.code_for = choice("code for", LIBRARIES, "The library that the code below is written for.")
        self.targets = TargetControls(self._change_settings)
        self.modes = ModeControls(DEFAULT, self._change_settings)
        self.figure = FigureSlot(height=360)
        self.equation, self._note, self.code = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self.arrange(
            title=self.equation,
            controls=[self.modes, self.model_choice, self.rank],
            more=[self.targets, self.bias_free],
            picture=[self.figure],
            below=[self._note, self.code_for, self.code],
        )
        self.model_choice.observe(self._change_model, "value")
        self.rank.observe(self._change_settings, "value")
        self.bias_free.observe(self._change_settings, "value")
        self.code_for.observe(self._change_library, "value")
        self._change_model()

    def _settings(self) -> dict[str, Any]:
        where = {"model": self.model_choice, "targets": self.targets, "rank": self.rank, "bias_free": self.bias_free}
        return {**where, **self.modes.buttons, "code_for": self.code_for}

    @guarded_about("settings")
    def _change_model(self, _: object = None) -> None:
        name = self.model_choice.value
        self._counted: nn.Module
        if name in ARCHITECTURES:
            self._counted = bare_model(name)
            self.targets.offer(self._counted)
        else:
            model = self._given if name == GIVEN and self._given is not None else load_model(SHIPPED)
            self._counted = model
            self.targets.offer(model)
        self._carries = bool(adapted_layers(self._counted))  # an adapter, which is left out before it is counted
        self._update()

    @guarded_about("settings")
    def _change_settings(self, _: object = None) -> None:
        self._update()

    def _update(self) -> None:
        self._note.value = "counting …"
        names, r, modes = self.targets.targets, self.rank.value, self.modes.modes
        self.config = self._config(modes)
        self.lora = self._count_lora(LoraConfig(r=r, target_modules=names))
        self.budget = self._count_glora()
        sums, inert = self.budget.by_path(), self.budget.inert_everywhere()
        self.figure.show(draw_path_budget([self.budget, self.lora]))  # first, since a reader waits for it
        self.equation.value = equation(modes, inert)
        self.modes.show_params({path: n for path, n in sums.items() if modes[path] != "none"}, inert)
        self._write_code()
        self._note.value = f"<b>{self.budget.total:,}</b> trainable parameters"

    def _config(self, modes: Mapping[str, str]) -> GloraConfig:
        where: dict[str, Any] = {"target_modules": self.targets.targets, "bias_free": self.bias_free.value}
        return GloraConfig.only(**modes, r=self.rank.value, **where)

    def _count_glora(self) -> PathBudget:
        """The budget; where nothing can be trained the reason is said, and inert paths are counted as such."""
        try:
            return self._count(self.config)
        except ValueError as refusal:
            self.say(refusal)
        try:
            # one that always trains, to ask about the others
            asked = self._count(self._config({**self.modes.modes, "B": "constant"}))
        except ValueError:
            return PathBudget((), model=self._counted_name)
        return replace(asked, rows=tuple(row for row in asked.rows if row.path != "B"))

    def _count_lora(self, config: LoraConfig) -> PathBudget:
        key = (self._counted_name, config.r, *sorted(self.targets.targets))
        if key not in self._loras:
            try:
                self._loras[key] = self._count(config)
            except ValueError:  # no target: said for GLoRA
                self._loras[key] = PathBudget((), method="LoRA", model=self._counted_name)
        return self._loras[key]

    def _count(self, config: GloraConfig | LoraConfig) -> PathBudget:
        count = path_budget if self._carries else budget_on
        return replace(count(self._counted, config), model=self._counted_name)

    @property
    def _counted_name(self) -> str:
        return type(self._given).__name__ if self.model_choice.value == GIVEN else self.model_choice.value

    @guarded
    def _change_library(self, _: object) -> None:
        self._write_code()

    def _write_code(self) -> None:
        self.snippet = config_snippet(self.config, self.code_for.value, conv1d=self.targets.conv1d)
        self.code.value = code_to_copy(self.snippet)
