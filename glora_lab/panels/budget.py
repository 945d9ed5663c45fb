"""BudgetPanel: what a configuration costs on a model, GLoRA beside LoRA, and the code to take away."""

from __future__ import annotations

import html
from dataclasses import replace

import ipywidgets as widgets
from peft import LoraConfig
from torch import nn

from glora_lab.adapters import GloraConfig
from glora_lab.adapters.snippet import LIBRARIES, config_snippet
from glora_lab.figures import describe_path_budget, equation, plot_path_budget
from glora_lab.measure import path_budget
from glora_lab.models import ARCHITECTURES, architecture, load_model, meta_model
from glora_lab.panels.example import glora_config
from glora_lab.panels.figure_slot import FigureSlot
from glora_lab.panels.modes import DEFAULT, ModeControls, choice
from glora_lab.panels.panel import Panel, guarded
from glora_lab.panels.targets import TargetControls
from glora_lab.records import PathBudget

SHIPPED, GIVEN = "digits-vit", "this model"
COPY = "navigator.clipboard.writeText(this.parentElement.querySelector('pre').textContent)"


class BudgetPanel(Panel):
    """Model, target modules, rank and modes → parameters per path and layer, beside LoRA of the same rank.

    Args:
        model: a model to count on, beside digits-vit and the well-known architectures; it is left as it is.

    State: `config` (the GloraConfig), `budget` and `lora` (PathBudgets; without rows where nothing can be
    trained), `snippet` (the configuration as code).
    """

    config: GloraConfig
    budget: PathBudget
    lora: PathBudget
    snippet: str
    _model: nn.Module

    def __init__(self, model: nn.Module | None = None) -> None:
        super().__init__()
        self._given = model
        names = ([] if model is None else [GIVEN]) + [SHIPPED, *ARCHITECTURES]
        self.model_choice = widgets.Dropdown(options=names, description="model")
        self.rank = widgets.IntSlider(8, 1, 64, description="rank", continuous_update=False)
        self.bias_free = choice("C, E without a bias", ["drop", "add"])
        self.library = choice("code for", LIBRARIES)
        self.targets = TargetControls(self._update)
        self.modes = ModeControls(DEFAULT, self._update)
        self.figure = FigureSlot(height=360)
        self._equation, self._code = widgets.HTML(), widgets.HTML()
        top = widgets.HBox([self.model_choice, self.rank, self.bias_free], layout={"flex_flow": "row wrap"})
        self.body.children = [
            *(self._equation, top, self.targets, self.modes),
            *(self.figure, self.library, self._code),
        ]
        self.model_choice.observe(self._change_model, "value")
        self.rank.observe(self._update, "value")
        self.bias_free.observe(self._update, "value")
        self.library.observe(self._show_code, "value")
        self._change_model()

    @guarded
    def _change_model(self, _: object = None) -> None:
        name = self.model_choice.value
        if name == GIVEN and self._given is not None:
            self._model = self._given
        else:
            self._model = load_model(SHIPPED) if name == SHIPPED else meta_model(architecture(name))
        self.targets.offer(self._model)
        self._update()

    @guarded
    def _update(self, _: object = None) -> None:
        names, r = self.targets.targets, self.rank.value
        self.config = glora_config(names, self.modes.modes, r=r, bias_free=self.bias_free.value)
        self.budget = self._count(self.config, "GLoRA")
        self.lora = self._count(LoraConfig(r=r, target_modules=names), "LoRA")
        inert = {path: why for path, why in self.budget.inert().items() if not self.budget.by_path()[path]}
        self._equation.value = equation(self.modes.modes, inert)
        on = {path: count for path, count in self.budget.by_path().items() if self.modes.modes[path] != "none"}
        self.modes.show_params(on, inert)
        budgets = [self.budget, self.lora]
        self.figure.show(plot_path_budget(budgets), describe_path_budget(budgets))
        self._show_code()

    def _count(self, config: GloraConfig | LoraConfig, method: str) -> PathBudget:
        """The budget, or one without rows and the reason on the panel, where there is nothing to train."""
        name = type(self._given).__name__ if self.model_choice.value == GIVEN else self.model_choice.value
        try:
            return replace(path_budget(self._model, config), model=name)
        except ValueError as refusal:
            self.say(refusal)
            return PathBudget((), method=method, model=name)

    @guarded
    def _show_code(self, _: object = None) -> None:
        self.snippet = config_snippet(self.config, self.library.value)
        box = "margin:0;padding:8px;line-height:1.35;border:1px solid rgba(128,128,128,.4);border-radius:4px"
        self._code.value = (
            f'<div><pre tabindex="0" aria-label="code" style="{box}">{html.escape(self.snippet)}</pre>'
            f'<button class="jupyter-button" onclick="{COPY}">Copy</button></div>'
        )
