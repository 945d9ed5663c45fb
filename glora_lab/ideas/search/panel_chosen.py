"""The chosen trial: where its parameters are, its configuration as code, and a button that trains it for real."""

from __future__ import annotations

import copy
import html
from collections.abc import Callable, Mapping
from typing import Any

from peft import PeftConfig
from torch import nn

from glora_lab.adapters.stock.snippet import config_snippet
from glora_lab.data import Task
from glora_lab.drawing.equation import equation
from glora_lab.drawing.theme import PATHS
from glora_lab.ideas.training.panel import TrainPanel
from glora_lab.ideas.training.panel_begun import Begun
from glora_lab.ideas.training.panel_run_table import new_name
from glora_lab.ideas.training.record import Run
from glora_lab.page.controls import widgets
from glora_lab.page.controls.code import code_to_copy
from glora_lab.page.controls.example import adapt
from glora_lab.page.controls.widgets import Button, row
from glora_lab.page.figure_slot import FigureSlot
from glora_lab.page.panel import PANELS
from glora_lab.training.run_folder import RunFolder

from .figure_path_map import draw_path_map
from .panel_found import CALLED, Found
from .record import PathMap, Trial

TRAIN = "Trains a copy of the model with this setting, and keeps it among TrainPanel's runs."
RICHEST = ("lora", "vector", "constant")


class ChosenTrial(widgets.VBox):
    """Shows a trial with `show`: `path_map`, `config` and `snippet` are of it, None and "" where there is none.

    What was trained of it is in `runs`, and in the folder.

    Args:
        on_train: told when the button is pressed; it asks to `begin`, and to `record` in the end.
        base, base_name: the model, and what the runs call it.
    """

    def __init__(self, on_train: Callable[[], None], base: nn.Module, base_name: str, folder: RunFolder) -> None:
        self._base, self._base_name, self._folder = base, base_name, folder
        self.runs: list[Run] = []
        self.path_map: PathMap | None = None
        self.config: PeftConfig | None = None
        self.snippet = ""
        self._shown: tuple[Found, int, str] | None = None
        self.figure, self.code, self.trained = FigureSlot(height=300), widgets.HTML(), widgets.HTML()
        self.button = Button(
            description="Train this one", icon="play", says=TRAIN, disabled=True, layout={"width": "auto"}
        )
        self.button.on_click(lambda _: on_train())
        super().__init__([self.figure, row(self.button, self.trained), self.code])
        self.figure.clear()

    def show(self, trial: Trial | None, found: Found) -> None:
        """ValueError where the trial is of another space than is known; nothing is shown then."""
        shown = None if trial is None else (found, trial.number, trial.choice)
        if shown == self._shown:
            return
        self._shown, self.path_map, self.config, self.snippet = shown, None, None, ""
        try:
            if trial is not None:
                self.path_map, self.config = found.path_map(trial), found.config(trial)
                self.snippet = config_snippet(self.config)
        finally:
            self._draw()

    def _draw(self) -> None:
        self.code.value = code_to_copy(self.snippet) if self.snippet else ""
        if self.path_map is None:
            self.figure.clear()
        else:
            self.figure.show(draw_path_map(self.path_map))

    def begin(self, task: Task, numbers: Mapping[str, Any]) -> Begun:
        """Start to train a copy of the model with this setting.

        Raises:
            ValueError: where there is no trial, or the setting does not go with this model and task.
        """
        if self.config is None or self._shown is None:
            raise ValueError("there is no trial to train yet: press Search first")
        found, number, _ = self._shown
        here = [run for run in self._folder.runs if run.model == self._base_name]
        name = new_name(f"{found.called} trial {number} of a search", here)
        model = adapt(copy.deepcopy(self._base), copy.deepcopy(self.config), seed=numbers["seed"])
        self.trained.value = ""
        return Begun.start({name: model}, task, numbers)

    def record(self, begun: Begun) -> str:
        """What was trained joins TrainPanel's runs, in open tables too; in words what could not be kept."""
        refusal = ""
        for name in begun.learnt:
            run = begun.run(name, self._base_name)
            self.runs.append(run)
            read = f"{run.validation:.1%} of the validation part, {run.metric:.1%} of the test part"
            self.trained.value = html.escape(f"{run.name}, trained for real: {read}. It is among TrainPanel's runs.")
            try:
                self._folder.add(run, begun.models[name])
            except OSError as why:
                refusal = f"{name} could not be kept: {why}"
        for panel in PANELS:
            if isinstance(panel, TrainPanel):
                panel.table.refresh()
        return refusal


def equation_of(path_map: PathMap | None, method: str) -> str:
    """GLoRA's equation as HTML, those paths lit that a layer of this setting has; of another method what is asked."""
    if method != CALLED["glora"]:
        return f'<p class="glora-heading">{html.escape(method)}: which ranks, where?</p>'
    on = [row for row in path_map.rows if row.params] if path_map else []
    modes = {path: {row.mode for row in on if row.path == path} for path in PATHS}
    return equation({path: next((mode for mode in RICHEST if mode in has), "none") for path, has in modes.items()})
