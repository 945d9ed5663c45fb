"""Which method adapts the model, and what is its own: GLoRA's paths, LoRA's scaling, GraLoRA's blocks; and the rank of
methods that a reader has written (`DeltaMethod`).

One method is shown at a time. What the others are set to is kept, for a race asks them all.

Decision: alpha is chosen as a multiple of the rank, since alpha/r is what multiplies ΔW. So a method keeps its
scaling where a race gives it another rank, and at 1, where the control starts, LoRA and GraLoRA are as little
scaled as GLoRA, which knows no alpha; one learning rate then means the same to all three.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from peft import LoraConfig
from torch import nn

from glora_lab.adapters import DeltaConfig, GloraConfig, GraloraConfig
from glora_lab.adapters.gralora.blocks import fitting_k
from glora_lab.arguments import refuse
from glora_lab.drawing.equation import equation
from glora_lab.drawing.low_rank_equation import low_rank_equation, own_equation
from glora_lab.drawing.theme import listed, modes_in_words
from glora_lab.ideas.budget.record import PathBudget
from glora_lab.page.controls import widgets
from glora_lab.page.controls.modes import PRESETS, ModeControls, choice
from glora_lab.page.controls.targets import body_targets, target_sizes
from glora_lab.page.controls.widgets import WIDE, Dropdown, IntSlider, show_only_if
from glora_lab.training.in_turn import in_turn

METHODS = ("LoRA", "GLoRA", "GraLoRA")
OWN = "own choice"
RANK = "How wide the two thin matrices are that are trained: more rank, more parameters."
PRESET = "Well-known choices of the five paths; each sets all five rows."
ALPHA = "What is added is multiplied by alpha over rank: at “1 × rank” it is added as it is."
BLOCKS = "Into how many blocks a side GraLoRA cuts the change: k × k blocks, each of rank r/k."
HYBRID = "The rank of a LoRA beside GraLoRA's blocks; 0 for none."
SCALINGS = {"½ × rank": 0.5, "1 × rank": 1, "2 × rank": 2, "4 × rank": 4}
Config = LoraConfig | GloraConfig | GraloraConfig | DeltaConfig


class MethodControls:
    """The method, the rank and the method's own controls: `shown`, and GLoRA's `modes`, one by one.

    `on_change` is called when anything changes that the configuration depends on. `own` are the reader's methods by
    name.
    """

    def __init__(
        self,
        base: nn.Module,
        on_change: Callable[[], None],
        *,
        own: Mapping[str, DeltaConfig] = MappingProxyType({}),
        method: str,
        preset: str,
        rank: int,
        k: int,
    ) -> None:
        self._on_change, self._own, self.names = on_change, own, (*METHODS, *own)
        self._targets = body_targets(base)
        self._sizes = target_sizes(base, self._targets)
        self.method = choice("method", self.names, "The method that adapts the model.")
        self.method.value = method
        self.rank = _slider("rank", rank, 1, 32, RANK)
        self.preset = Dropdown(
            options=[OWN, *PRESETS], value=preset, description="preset", says=PRESET, layout={"width": "320px"}
        )
        self.modes = ModeControls(PRESETS.get(preset, {}), self._modes_changed)
        self.alpha = Dropdown(
            options=list(SCALINGS.items()), value=1, description="alpha", says=ALPHA, layout={"width": "200px"}
        )
        self.k = _slider("k, blocks per side", k, 1, 8, BLOCKS)
        self.hybrid = _slider("hybrid rank", 0, 0, 16, HYBRID)
        self.shown = [self.method, self.preset, self.rank, self.k, self.hybrid, self.alpha]
        self._show_own()
        self.method.observe(self._method_changed, "value")
        self.preset.observe(self._preset_changed, "value")
        for control in (self.rank, self.alpha, self.k, self.hybrid):
            control.observe(lambda _: on_change(), "value")

    def config(self, method: str | None = None, rank: int | None = None) -> Config:
        """The configuration of the chosen method and rank, or of another; ValueError for an impossible k."""
        method, rank, targets = method or self.method.value, rank or self.rank.value, self._targets
        if method == "GLoRA":
            return GloraConfig.only(**self.modes.modes, r=rank, target_modules=targets)
        if method in self._own:
            config = copy.deepcopy(self._own[method])
            config.r, config.target_modules = rank, config.target_modules or targets
            return config
        if method == "LoRA":
            return LoraConfig(r=rank, lora_alpha=_whole(self.alpha.value * rank), target_modules=targets)
        k, hybrid = self.k.value, self.hybrid.value
        fitting = fitting_k(rank, *self._sizes)
        if k not in fitting:
            sizes, fit = listed(map(str, self._sizes)), listed(map(str, fitting))
            raise refuse("k", k, f"must divide the rank (={rank}) and the layers' features ({sizes}); these do: {fit}")
        alpha = _whole(self.alpha.value * (rank + hybrid))
        return GraloraConfig(r=rank, hybrid_r=hybrid, alpha=alpha, gralora_k=k, target_modules=targets)

    @property
    def run_name(self) -> str:
        """The chosen method as `name_of` says it; GLoRA's preset, or its modes in words, for there are many."""
        modes, rank = self.modes.modes, self.rank.value
        if self.method.value != "GLoRA":
            return self.name_of(self.method.value, rank)
        name = self.preset.value if self.preset.value != OWN else modes_in_words(modes)
        return f"{name}, rank {rank}" if "lora" in modes.values() else name

    def name_of(self, method: str, rank: int) -> str:
        """ "LoRA, rank 12", "GLoRA A+B, rank 6" or "GraLoRA, rank 12, k 4", and what else is not as it starts."""
        if method == "GLoRA":
            on = "+".join(path for path, mode in self.modes.modes.items() if mode != "none")
            return f"GLoRA {on}, rank {rank}" if "lora" in self.modes.modes.values() else f"GLoRA {on}"
        if method in self._own:
            return f"{method}, rank {rank}" if self.has_rank(method) else method
        scaling = f", alpha {self.alpha.label}" if self.alpha.value != 1 else ""
        if method == "LoRA":
            return f"LoRA, rank {rank}{scaling}"
        hybrid = f", hybrid rank {self.hybrid.value}" if self.hybrid.value else ""
        return f"GraLoRA, rank {rank}, k {self.k.value}{hybrid}{scaling}"

    def take_rank(self, rank: int) -> None:
        """Set the rank, which may be above what the slider goes to."""
        self.rank.max = max(self.rank.max, rank)
        self.rank.value = rank

    def has_rank(self, method: str) -> bool:
        """Whether the method's parameters depend on the rank."""
        return method not in self._own or self._own[method].depends_on_rank(self._sizes[0], self._sizes[-1])

    def equation(self, budget: PathBudget) -> str:
        """The chosen method's equation as HTML; of GLoRA's paths, those that the budget calls inert are struck."""
        if self.method.value == "GLoRA":
            return equation(self.modes.modes, budget.inert_everywhere())
        if self.method.value in self._own:
            return own_equation(self.method.value)
        numbers = {"r": self.rank.value, "scaling": self.alpha.value}
        own = {} if self.method.value == "LoRA" else {"k": self.k.value, "hybrid_r": self.hybrid.value}
        return low_rank_equation(self.method.value, **numbers, **own)

    def show_params(self, budget: PathBudget) -> None:
        """Write GLoRA's parameters beside its paths."""
        if self.method.value == "GLoRA":
            sums, modes = budget.by_path(), self.modes.modes
            counts: Mapping[str, int] = {path: n for path, n in sums.items() if modes[path] != "none"}
            self.modes.show_params(counts, budget.inert_everywhere())

    def _show_own(self) -> None:
        """Hide what the chosen method does not have; nothing is taken away, so that a closed panel closes it all."""
        own: Mapping[str, list[widgets.Widget]] = {
            "LoRA": [self.alpha],
            "GLoRA": [self.preset, self.modes],
            "GraLoRA": [self.k, self.hybrid, self.alpha],
        }
        for control in (self.preset, self.modes, self.k, self.hybrid, self.alpha):
            show_only_if(control in own.get(self.method.value, []), control)

    @in_turn
    def _method_changed(self, _: object) -> None:
        self._show_own()
        self._on_change()

    @in_turn
    def _preset_changed(self, change: dict[str, str]) -> None:
        if change["new"] != OWN:
            self.modes.set_modes(PRESETS[change["new"]])

    @in_turn
    def _modes_changed(self) -> None:
        on = {path: mode for path, mode in self.modes.modes.items() if mode != "none"}
        self.preset.value = next((name for name, modes in PRESETS.items() if modes == on), OWN)
        self._on_change()


def _slider(description: str, value: int, least: int, most: int, says: str) -> IntSlider:
    settings: Any = {"description": description, "says": says, "continuous_update": False, "style": WIDE}
    return IntSlider(value, least, max(most, value), **settings)


def _whole(number: float) -> Any:
    """2 rather than 2.0: alpha is written into code and configurations, and PEFT's types call it a whole number."""
    return int(number) if number == int(number) else number
