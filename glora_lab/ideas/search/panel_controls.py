"""What a search is asked for: a space of settings, how they are proposed and scored, how many, and a limit.

The limit is one slider for two things. It says up to where the best is shown, which takes no search; and, where the
reader ticks it, what the next search must stay below.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from torch import nn

from glora_lab.adapters.glora.paths import MODES
from glora_lab.arguments import check_choice, check_count, check_positive_int, check_positive_number, refuse
from glora_lab.page.controls import widgets
from glora_lab.page.controls.modes import choice
from glora_lab.page.controls.ticks import Ticks
from glora_lab.page.controls.widgets import WIDE, BoundedIntText, Dropdown, FloatLogSlider, row, show_only_if, tick
from glora_lab.search import SearchSpace
from glora_lab.search.engines import ENGINES
from glora_lab.search.space import PER
from glora_lab.training.in_turn import in_turn

METHODS = {"GLoRA": "glora", "LoRA": "lora", "GraLoRA": "gralora"}
RANKS = (1, 2, 4, 8, 16, 32)
SAMPLERS = ("nsga2", "tpe", "random")
GIVEN = "as given"
PATHS: Mapping[str, Any] = MappingProxyType(
    {
        "the rank of B": None,
        "B in every mode": {"B": MODES["B"]},
        "A and B in every mode": {path: MODES[path] for path in "AB"},
        "vectors beside B": {"B": MODES["B"], **dict.fromkeys("ADE", ("vector", "none"))},
        "all five paths in every mode": "all",
    }
)
GATE = 12
METHOD = "The method whose settings are searched."
PATH = "Which of GLoRA's paths take part, and in which modes."
PER_SAYS = "Whether all layers of a kind are set alike, or each by itself."
PER_EACH = {"kind": "kind: all query layers alike, all keys, and so on.", "layer": "layer: each layer by itself."}
ENGINE = "How a setting is scored before it is trained for real."
SAMPLER = "How the next setting is proposed, by Optuna."
TRIALS = "How many settings are looked at."
STEPS = "Steps of real training: of the gate, of engine short, and of “train this one”."
RATE = "How far a step goes along the gradient, in the search and in “train this one”."
SEED = "Draws settings, first values and batches; the same seed gives the same search."
GATE_SAYS = "Trains some settings for real first, to see whether the engine orders them better than counting does."
BOUNDED = "Whether the next search stays below the limit; without it the limit only says what is shown."
LIMIT = "The most parameters: the best setting within it is shown, and the line moves. No search is needed."


class RankTicks(Ticks):
    """The ranks to choose from."""

    def __init__(self, ranks: Sequence[int], on_change: Callable[[], None]) -> None:
        super().__init__(on_change)
        self._row = row()
        self.children = [widgets.HTML("ranks"), self._row]
        known = sorted({*RANKS, *ranks})
        self._offer({str(n): tick(str(n), value=n in ranks, says=f"Whether rank {n} can be chosen.") for n in known})
        self._row.children = list(self.boxes.values())

    @property
    def ranks(self) -> tuple[int, ...]:
        return tuple(map(int, self.value))


class SearchControls:
    """The controls of a search. `on_space` is called when the space is another, `on_limit` when the limit is.

    `given` is a space of the reader's own, which takes the place of the controls that make one.
    """

    def __init__(
        self,
        on_space: Callable[[], None],
        on_limit: Callable[[], None],
        *,
        given: SearchSpace | None,
        method: str,
        ranks: Sequence[int],
        modes: Any,
        per: str,
        limit: int | None,
        **numbers: Any,
    ) -> None:
        _check(limit=limit, **numbers)
        self._given, self._on_space = given, on_space
        self.method = choice("method", METHODS, METHOD)
        self.method.value = next((name for name, called in METHODS.items() if called == method), "GLoRA")
        own = {} if modes in PATHS.values() else {GIVEN: modes}
        self._paths = {**PATHS, **own}
        start = GIVEN if own else next(name for name, one in PATHS.items() if one == modes)
        self.paths = Dropdown(options=list(self._paths), value=start, description="paths", says=PATH)
        self.ranks = RankTicks(ranks, self._changed)
        self.per = choice("per", PER, PER_SAYS, PER_EACH)
        self.per.value = per
        self._make_numbers(**numbers)
        self.bounded = tick("search below the limit only", says=BOUNDED, value=limit is not None)
        self.limit = FloatLogSlider(10.0**6, min=0, max=6, step=0.01, description="limit", says=LIMIT, style=WIDE)
        self.limit.readout_format = ",.0f"
        self._asked, self._setting = limit, False
        self.size = widgets.HTML()
        show_only_if(given is None, self.method, self.ranks, self.per)
        self._show_paths()
        for control in (self.method, self.paths, self.per):
            control.observe(self._changed, "value")
        self.limit.observe(lambda _: None if self._setting else on_limit(), "value")

    def _make_numbers(
        self, *, engine: str, sampler: str, trials: int, steps: int, lr: float, seed: int, gate: int
    ) -> None:
        look: dict[str, Any] = {"layout": {"width": "150px"}}
        self.engine = Dropdown(options=list(ENGINES), value=engine, description="engine", says=ENGINE)
        self.sampler = Dropdown(options=SAMPLERS, value=sampler, description="sampler", says=SAMPLER)
        most = max(10_000, steps, trials)
        self.trials = BoundedIntText(trials, min=1, max=most, description="trials", says=TRIALS, **look)
        self.steps = BoundedIntText(steps, min=1, max=most, description="steps", says=STEPS, **look)
        low, high = min(-4, math.floor(math.log10(lr))), max(-1, math.ceil(math.log10(lr)))
        self.lr = FloatLogSlider(
            lr, min=low, max=high, step=0.125, description="learning rate", says=RATE, readout_format=".2g", style=WIDE
        )
        self.lr.continuous_update = False
        self.seed = BoundedIntText(seed, min=0, max=2**31 - 1, description="seed", says=SEED, **look)
        self.gate = tick("gate", says=GATE_SAYS, value=gate > 0)
        self._gate = gate or GATE

    @property
    def shown(self) -> list[widgets.Widget]:
        return [self.method, self.paths, self.ranks, self.size, self.limit]

    @property
    def folded(self) -> list[widgets.Widget]:
        how = [self.engine, self.sampler, self.trials, self.gate, self.bounded]
        return [self.per, *how, self.steps, self.lr, self.seed]

    def settings(self) -> dict[str, Any]:
        """Name → control; what sets the range of another comes first."""
        space = {"method": self.method, "paths": self.paths, "ranks": self.ranks, "per": self.per}
        how = {"engine": self.engine, "sampler": self.sampler, "trials": self.trials, "steps": self.steps}
        rest = {"lr": self.lr, "seed": self.seed, "gate": self.gate, "bounded": self.bounded, "limit": self.limit}
        return {**(space if self._given is None else {}), **how, **rest}

    def space(self, model: nn.Module) -> SearchSpace:
        """What the controls say can be chosen; ValueError where that is nothing."""
        if self._given is not None:
            return self._given
        method, ranks = METHODS[self.method.value], self.ranks.ranks
        if not ranks:
            raise refuse("ranks", [], "must have a rank to choose: tick one")
        modes = {"modes": self._paths[self.paths.value]} if method == "glora" else {}
        return SearchSpace.of(model, method, ranks=ranks, per=self.per.value, **modes)

    def numbers(self, space: SearchSpace) -> dict[str, Any]:
        """What `search_paths` takes beside model, task and space."""
        limit = self.most if self.bounded.value and self.most < space.params(space.largest) else None
        how = {"engine": self.engine.value, "sampler": self.sampler.value, "gate": self.gate.value * self._gate}
        return {"limit": limit, "trials": self.trials.value, **how, **self.training}

    @property
    def training(self) -> dict[str, Any]:
        """What `fit` takes beside model and task."""
        return {"steps": self.steps.value, "lr": self.lr.value, "seed": self.seed.value}

    @property
    def most(self) -> int:
        """The limit, in parameters."""
        return round(self.limit.value)

    def tell(self, space: SearchSpace) -> None:
        """Say how large the space is."""
        least, most, size = space.params(space.smallest), space.params(space.largest), space.size
        settings = f"<b>{size:,}</b>" if size < 10**9 else f"about <b>10<sup>{round(math.log10(size))}</sup></b>"
        self.size.value = f"{settings} settings, {least:,} to {most:,} parameters"

    def bound(self, space: SearchSpace, counts: Sequence[int]) -> tuple[int, int]:
        """Let the limit go over all of a space and these numbers of parameters, and give the ends.

        A limit at its upper end stays there, for it is none.
        """
        least = min([space.params(space.smallest), *counts])
        most = max([space.params(space.largest), *counts])
        low, high = math.floor(100 * math.log10(least)) / 100, math.ceil(100 * math.log10(most)) / 100
        high = max(high, low + 0.01)
        at_end = math.isclose(self.limit.value, 10**self.limit.max)
        value = 10**high if at_end else self.limit.value
        if self._asked is not None:
            value, self._asked = float(self._asked), None
        self._setting = True
        with self.limit.hold_trait_notifications():
            self.limit.min, self.limit.max = low, high
            self.limit.value = min(max(value, 10**low), 10**high)
        self._setting = False
        return math.floor(10**low), round(10**high)

    @in_turn
    def _changed(self, _: object = None) -> None:
        self._show_paths()
        self._on_space()

    def _show_paths(self) -> None:
        show_only_if(self._given is None and self.method.value == "GLoRA", self.paths)


def _check(
    *, limit: int | None, engine: str, sampler: str, trials: int, steps: int, lr: float, seed: int, gate: int
) -> None:
    """A control would clamp what it cannot show, without a word."""
    check_choice("engine", engine, tuple(ENGINES))
    check_choice("sampler", sampler, SAMPLERS)
    if limit is not None:
        check_positive_int("limit", limit)
    for name, number in {"trials": trials, "steps": steps}.items():
        check_positive_int(name, number)
    check_positive_number("lr", lr)
    check_count("gate", gate)
    if gate == 1:
        raise refuse("gate", gate, "must be 0, or 2 settings or more: one has no order")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**31:
        raise refuse("seed", seed, "must be an integer from 0 to 2**31 - 1")
