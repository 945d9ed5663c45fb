"""A race: which methods take part, what each of them is at an equal number of parameters, and where there is none."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from torch import nn

from glora_lab.ideas.budget.measure_equal_budget import equal_ranks, rank_table, rank_within
from glora_lab.ideas.budget.record import EQUAL, PathBudget, apart
from glora_lab.page.controls import widgets
from glora_lab.page.controls.ticks import Ticks
from glora_lab.page.controls.widgets import Button, show_only_if, tick

from .figure_race import describe_race, race_in_words
from .panel_methods import Config, MethodControls

FAIR = "the same seed, batches and learning rate; a rate of its own might suit one of them better"
FARTHEST = 8  # times the parameters asked for, where an equal race is looked for


class LineUp(NamedTuple):
    """Who races: name → configuration and → parameters, or `refusal`, why they cannot. Where they are not equal,
    `nearest` has the rank of each method with which they would be, None where none has been found."""

    configs: dict[str, Config]
    counts: dict[str, int]
    nearest: dict[str, int] | None = None
    nearest_count: int = 0
    refusal: ValueError | None = None

    @property
    def equal(self) -> bool:
        return apart(self.counts.values()) <= EQUAL


class RaceControls(Ticks):
    """Two buttons, to race and to make it equal, and a box to tick for each method; `says` tells in words what the race
    is about."""

    def __init__(
        self,
        on_race: Callable[[], None],
        on_take: Callable[[], None],
        methods: Sequence[str],
        on_change: Callable[[], None],
    ) -> None:
        super().__init__(on_change)
        says = "Trains the ticked methods in turns, each with about as many parameters as the controls come to."
        self.button = Button(icon="flag-checkered", says=says, layout={"width": "auto"})
        says = "Takes the rank with which all methods have the same number of parameters, to within 2%."
        self.take = Button(icon="balance-scale", says=says, layout={"width": "auto"})
        self._offer({method: tick(method, says=f"Whether {method} takes part in the race.") for method in methods})
        self.words, self.says = "", widgets.HTML()
        self.button.on_click(lambda _: on_race())
        self.take.on_click(lambda _: on_take())
        self.children = [self.button, self.take, *self.boxes.values()]
        self.add_class("glora-racing")
        self.offer(None)

    @property
    def chosen(self) -> list[str]:
        return self.value

    def offer(self, race: LineUp | ValueError | None) -> None:
        """Say what a race would be about, and whether it would be at equal parameters; or why there would be none."""
        found = race if isinstance(race, LineUp) else LineUp({}, {}, refusal=race)
        unequal = bool(found.counts) and not found.equal
        self.button.description = "Race, not at equal parameters" if unequal else "Race at equal parameters"
        self.take.description = f"Make it equal, at {found.nearest_count:,} parameters"
        show_only_if(bool(found.nearest), self.take)
        words = [race_in_words(found.counts)] if found.counts else [f"{found.refusal}."] if found.refusal else []
        if found.nearest:
            ranks = ", ".join(f"{method} rank {rank}" for method, rank in found.nearest.items())
            words.append(f"The nearest that is equal, at {found.nearest_count:,} parameters: {ranks}.")
        elif unequal:
            words.append("No ranks near these make them equal.")
        self._tell(" ".join([*words, f"All have {FAIR}."] if found.counts else words))

    def say(self, budgets: Mapping[str, PathBudget]) -> str:
        """Say what each racer got; in a word what the race is."""
        self._tell(f"{describe_race(budgets)} All have {FAIR}.")
        gap = apart(budget.total for budget in budgets.values())
        return "at equal parameters" if gap <= EQUAL else "not at equal parameters"

    def _tell(self, words: str) -> None:
        self.words = words
        self.says.value = f'<div style="line-height:1.4;margin:2px 0">{html.escape(words)}</div>'


def line_up(base: nn.Module, methods: MethodControls, chosen: list[str], params: int) -> LineUp:
    """The chosen methods at equal parameters, within 2%; where ranks allow none, each with the largest within `params`.

    The method that the controls show runs as it stands there: `params` are its own. One whose parameters do not
    depend on the rank has what it has, where that is within the budget.

    Where one has no rank within the budget, the refusal names it.

    Raises:
        ValueError: for fewer than two methods, and one that cannot be on this model.
    """
    if len(chosen) < 2:
        raise ValueError(f"`chosen` (={chosen}) must name two methods or more: tick them beside the button")
    shown, own_rank = methods.method.value, methods.rank.value
    free = {method: _table(base, methods, method, params) for method in dict.fromkeys((*chosen, shown))}
    tables = {**free, shown: {own_rank: params}}
    nearest, count = None, 0
    if (ranks := equal_ranks(tables, params)) is None:
        if nearest := equal_ranks(free, params):
            count = max(free[method][rank] for method, rank in nearest.items())
        try:
            ranks = {method: _largest(method, tables[method], params, methods) for method in chosen}
        except ValueError as refusal:
            return LineUp({}, {}, nearest, count, refusal)
    named = {method: methods.name_of(method, ranks[method]) for method in chosen}
    return LineUp(
        {name: methods.config(method, ranks[method]) for method, name in named.items()},
        {name: tables[method][ranks[method]] for method, name in named.items()},
        nearest,
        count,
    )


def _table(base: nn.Module, methods: MethodControls, method: str, params: int) -> dict[int, int]:
    try:
        return rank_table(base, methods.config(method, methods.k.value), FARTHEST * params)  # a rank that k divides
    except ValueError as refusal:
        raise _refusal(method, params, refusal) from refusal


def _largest(method: str, table: Mapping[int, int], params: int, methods: MethodControls) -> int:
    if (rank := rank_within(table, params)) is not None:
        return rank
    (least, count), *_ = table.items()
    if not methods.has_rank(method):
        raise _refusal(method, params, f"it has {count:,} whatever its rank")
    raise _refusal(method, params, f"`params` (={params:,}) must be at least {count:,}: so many has rank {least}")


def _refusal(method: str, params: int, why: object) -> ValueError:
    return ValueError(f"{method} cannot race with {params:,} parameters: {why}")
