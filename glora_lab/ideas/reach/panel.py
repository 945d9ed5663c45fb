"""ReachPanel: choose the change of W that is wanted, and see how near each grid of blocks can come to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from glora_lab.arguments import refuse
from glora_lab.data.minilm import MINILM
from glora_lab.page.controls.widgets import WIDE, Dropdown, SelectionSlider, again
from glora_lab.page.figure_slot import FigureSlot
from glora_lab.page.panel import Panel, guarded_about

from .figure import draw_rank_reach
from .figure_weight_changes import draw_weight_changes
from .measure import Wanted, best_changes, rank_reach
from .measure_real_changes import real_weight_changes
from .measure_weight_changes import weight_changes
from .record import RankReach, WeightChange

OF_MINILM = "full fine-tuning made in minilm"
RANKS = (8, 16, 32, 64)
KS = (1, 2, 4, 8)
WANTED = "The change of the weight that each grid of blocks comes as near to as it can."
RANK = "The rank of LoRA; a grid of k × k blocks has as many parameters, its blocks rank r/k."


class ReachPanel(Panel):
    """A wanted change and a rank → the error over k, at equal parameters, and below the best ΔW for each k.

    Args:
        changes: those to choose from, of sides that 8 divides; by default five shapes of 128×128, drawn at random.
            "minilm" for three of 384×384 that nobody drew: what full fine-tuning changed in that model's attention.

    Raises:
        ValueError: for what is no change, for none, or for sides that 8 does not divide.

    State: `reach` (RankReach of all changes at the rank), `best` (the chosen change, and the best ΔW for each k).
    """

    moves = MappingProxyType({"rank": (8, 16, 32)})
    reach: RankReach
    best: tuple[WeightChange, ...]

    def __init__(self, changes: WeightChange | Iterable[WeightChange] | str | None = None) -> None:
        super().__init__()
        self._changes = [Wanted(change) for change in _several(changes)]
        places = [(wanted.change.name, place) for place, wanted in enumerate(self._changes)]
        self.change = Dropdown(options=places, description="wanted change", says=WANTED, style=WIDE)
        self.rank = SelectionSlider(
            options=RANKS, value=16, description="rank", says=RANK, continuous_update=False, style=WIDE
        )
        self.again = again("Draw others", says="Draws other random changes; the rank stays.")
        self.again.disabled = changes is not None
        asked = OF_MINILM if isinstance(changes, str) else "is wanted"
        self.heatmaps, self.errors_over_k = FigureSlot(height=460), FigureSlot(height=420)
        self.arrange(
            title=f"Does more rank come nearer to the change of W that {asked}?",
            controls=[self.change, self.rank],
            more=[self.again],
            picture=[self.errors_over_k],
            below=[self.heatmaps],
        )
        self._measure_reach()
        self._show()
        self.change.observe(self._change_choice, "value")
        self.rank.observe(self._change_rank, "value")
        self.again.observe(self._draw_again, "value")

    def _settings(self) -> dict[str, Any]:
        return {"seed": self.again, "change": self.change, "rank": self.rank}

    @guarded_about("settings")
    def _change_choice(self, _: object) -> None:
        self._show()

    @guarded_about("settings")
    def _change_rank(self, _: object) -> None:
        self._measure_reach()
        self._show()

    @guarded_about("settings")
    def _draw_again(self, _: object) -> None:
        self._changes = [Wanted(change) for change in weight_changes(seed=self.again.value)]
        self._measure_reach()
        self._show()

    def _measure_reach(self) -> None:
        """All changes at this rank."""
        self.reach = rank_reach(self._changes, r=self.rank.value, ks=KS)

    def _show(self) -> None:
        """The chosen change among the others, and beside the best that each k can make of it."""
        wanted = self._changes[self.change.value]
        self.errors_over_k.show(draw_rank_reach(self.reach, wanted.change.name))
        self.best = best_changes(wanted, r=self.rank.value, ks=KS)
        self.heatmaps.show(draw_weight_changes(self.best))


def _several(changes: WeightChange | Iterable[WeightChange] | str | None) -> tuple[WeightChange, ...]:
    """Those that were given or are meant, as many as there are. ValueError for what is no change, and for none."""
    if changes is None:
        return weight_changes()
    if isinstance(changes, str) and changes == MINILM:
        return real_weight_changes()
    given = (changes,) if isinstance(changes, WeightChange) else changes
    found = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str | Mapping | np.ndarray) else ()
    if not found or not all(isinstance(change, WeightChange) for change in found):
        rule = f"must be changes of W, one or several, as weight_change(name, matrix) makes them, or {MINILM!r}"
        raise refuse("changes", changes, rule)
    return found
