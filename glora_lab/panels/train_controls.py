"""What a training run is made of: a preset or five modes, rank, task, learning rate, steps and seed."""

from __future__ import annotations

import math
from collections.abc import Callable

import ipywidgets as widgets

from glora_lab.adapters import GloraConfig
from glora_lab.adapters.settings import check_choice, check_positive_int, check_positive_number, refuse
from glora_lab.data import TASKS
from glora_lab.figures.theme import modes_in_words
from glora_lab.panels.example import glora_config
from glora_lab.panels.modes import PRESETS, ModeControls

OWN = "own choice"
WIDE = {"description_width": "initial"}


class TrainControls(widgets.VBox):
    """The controls, in rows. `on_paths` is called when preset, modes or rank change, `on_task` when the task does."""

    def __init__(
        self,
        on_paths: Callable[[], None],
        on_task: Callable[[], None],
        *,
        task: str,
        preset: str,
        rank: int,
        lr: float,
        steps: int,
        seed: int,
    ) -> None:
        _check(task=task, preset=preset, rank=rank, lr=lr, steps=steps, seed=seed)
        self._on_paths = on_paths
        self.preset = _dropdown("preset", [OWN, *PRESETS], preset)
        self.task = _dropdown("task", [(recipe.title, name) for name, recipe in TASKS.items()], task)
        self.modes = ModeControls(PRESETS.get(preset, {}), self._modes_changed)
        self.rank = widgets.IntSlider(rank, 1, max(32, rank), description="rank", continuous_update=False)
        lowest, highest = min(-4, math.floor(math.log10(lr))), max(-1, math.ceil(math.log10(lr)))
        self.lr = widgets.FloatLogSlider(
            lr, min=lowest, max=highest, step=0.125, description="learning rate", readout_format=".2g", style=WIDE
        )
        self.lr.continuous_update = False
        self.steps = widgets.BoundedIntText(steps, min=1, max=max(10_000, steps), description="steps")
        self.seed = widgets.BoundedIntText(seed, min=0, max=2**31 - 1, description="seed")
        rows = [[self.preset, self.task], [self.rank, self.lr], [self.steps, self.seed]]
        boxes = [widgets.HBox(row, layout={"flex_flow": "row wrap"}) for row in rows]
        super().__init__([boxes[0], self.modes, *boxes[1:]])
        self.preset.observe(self._preset_changed, "value")
        self.rank.observe(lambda _: on_paths(), "value")
        self.task.observe(lambda _: on_task(), "value")

    def config(self, targets: list[str]) -> GloraConfig:
        return glora_config(targets, self.modes.modes, r=self.rank.value)

    @property
    def run_name(self) -> str:
        """The preset, or the modes in words, and the rank where a path has one."""
        modes = self.modes.modes
        name = self.preset.value if self.preset.value != OWN else modes_in_words(modes)
        return f"{name}, rank {self.rank.value}" if "lora" in modes.values() else name

    def _preset_changed(self, change: dict[str, str]) -> None:
        if change["new"] != OWN:
            self.modes.set_modes(PRESETS[change["new"]])

    def _modes_changed(self) -> None:
        on = {path: mode for path, mode in self.modes.modes.items() if mode != "none"}
        self.preset.value = next((name for name, modes in PRESETS.items() if modes == on), OWN)
        self._on_paths()


def _check(*, task: str, preset: str, rank: int, lr: float, steps: int, seed: int) -> None:
    """A control would clamp what it cannot show, without a word."""
    check_choice("task", task, TASKS)
    check_choice("preset", preset, [OWN, *PRESETS])
    check_positive_int("rank", rank)
    check_positive_number("lr", lr)
    check_positive_int("steps", steps)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**31:
        raise refuse("seed", seed, "must be an integer from 0 to 2**31 - 1")


def _dropdown(description: str, options: list, value: str) -> widgets.Dropdown:
    return widgets.Dropdown(options=options, value=value, description=description, layout={"width": "380px"})
