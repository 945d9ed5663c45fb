"""A race: which methods take part, and what each of them is at an equal number of parameters."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence

import ipywidgets as widgets
from torch import nn

from glora_lab.ideas.budget.measure import path_budget
from glora_lab.ideas.budget.measure_equal_budget import rank_for_budget
from glora_lab.ideas.budget.record import PathBudget
from glora_lab.page.controls.ticks import Ticks
from glora_lab.page.controls.widgets import Button, tick

from .figure_race import describe_race
from .panel_methods import Config, MethodControls

FAIR = "the same seed, batches and learning rate; a rate of its own might suit one of them better"


class RaceControls(Ticks):
    """A button and a box to tick for each method; `says` tells in words what the race is about."""

    def __init__(self, on_race: Callable[[], None], methods: Sequence[str], on_change: Callable[[], None]) -> None:
        super().__init__(on_change)
        self.button = Button(
            description="Race at equal parameters",
            icon="flag-checkered",
            says="Trains the ticked methods in turns, each with about as many parameters as the controls come to.",
            layout={"width": "auto"},
        )
        self._offer({method: tick(method, says=f"Whether {method} takes part in the race.") for method in methods})
        self.words, self.says = "", widgets.HTML()
        self.button.on_click(lambda _: on_race())
        self.children = [self.button, *self.boxes.values()]
        self.add_class("glora-racing")

    @property
    def chosen(self) -> list[str]:
        return self.value

    def offer(self, params: int) -> None:
        """Say what a race would be about with this number of parameters."""
        self._tell(f"Each gets the largest rank that {params:,} parameters allow; {FAIR}." if params else "")

    def say(self, budgets: Mapping[str, PathBudget]) -> None:
        """Say what each racer got."""
        self._tell(f"{describe_race(budgets)} All have {FAIR}.")

    def _tell(self, words: str) -> None:
        self.words = words
        self.says.value = f'<div style="line-height:1.4;margin:2px 0">{html.escape(words)}</div>'


def entrants(base: nn.Module, methods: MethodControls, chosen: list[str], params: int) -> dict[str, Config]:
    """Name → configuration of the chosen methods, each with the largest rank that `params` parameters allow.

    The method that the controls show runs as it stands there: `params` are its own. One whose parameters do not
    depend on the rank has what it has, where that is within the budget.

    Raises:
        ValueError: for fewer than two methods, and where one has no rank within the budget, naming it.
    """
    if len(chosen) < 2:
        raise ValueError(f"`chosen` (={chosen}) must name two methods or more: tick them beside the button")
    found = {}
    for method in chosen:
        rank = methods.rank.value
        if method != methods.method.value:
            try:
                smallest = methods.config(method, methods.k.value)  # a rank that k divides
                if methods.has_rank(method):
                    rank = rank_for_budget(base, smallest, params)
                elif (count := path_budget(base, smallest).total) > params:
                    raise ValueError(f"it has {count:,} whatever its rank")
            except ValueError as refusal:
                raise ValueError(f"{method} cannot race with {params:,} parameters: {refusal}") from refusal
        found[methods.name_of(method, rank)] = methods.config(method, rank)
    return found
