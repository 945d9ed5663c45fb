"""ReachPanel: choose the change of W that is wanted, and see how near each grid of blocks can come to it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from glora_lab.page.controls.widgets import WIDE, Dropdown, SelectionSlider, again
from glora_lab.page.figure_slot import FigureSlot
from glora_lab.page.panel import Panel, guarded_about

from .figure import draw_rank_reach
from .figure_weight_changes import draw_weight_changes
from .measure import best_changes, rank_reach
from .measure_weight_changes import weight_changes
from .record import RankReach, WeightChange

RANKS = (8, 16, 32, 64)
KS = (1, 2, 4, 8)
WANTED = "The change of the weight that each grid of blocks comes as near to as it can."
RANK = "The rank of LoRA; a grid of k × k blocks has as many parameters, its blocks rank r/k."


class ReachPanel(Panel):
    """A wanted change and a rank → the best ΔW for each k as heatmaps, and the error over k for all changes.

    Args:
        changes: those to choose from, of sides that 8 divides; by default five shapes of 128×128, drawn at random.

    State: `reach` (RankReach of all changes at the rank), `best` (the chosen change, and the best ΔW for each k).
    """

    reach: RankReach
    best: tuple[WeightChange, ...]

    def __init__(self, changes: WeightChange | Iterable[WeightChange] | None = None) -> None:
        super().__init__()
        given = (changes,) if isinstance(changes, WeightChange) else changes
        self._changes = weight_changes() if given is None else tuple(given)
        if not self._changes:
            raise ValueError("`changes` (=()) must hold at least one")
        places = [(change.name, place) for place, change in enumerate(self._changes)]
        self.change = Dropdown(options=places, description="wanted change", says=WANTED, style=WIDE)
        self.rank = SelectionSlider(
            options=RANKS, value=16, description="rank", says=RANK, continuous_update=False, style=WIDE
        )
        self.again = again("Draw others", says="Draws other random changes; the rank stays.")
        self.again.disabled = given is not None
        self.heatmaps, self.errors_over_k = FigureSlot(height=460), FigureSlot(height=420)
        self.arrange(
            title="How near can k × k blocks come to the change of W that is wanted?",
            controls=[self.change, self.rank],
            more=[self.again],
            picture=[self.heatmaps],
            below=[self.errors_over_k],
        )
        self._show_reach()
        self._show_best()
        self.change.observe(self._change_choice, "value")
        self.rank.observe(self._change_rank, "value")
        self.again.observe(self._draw_again, "value")

    def _settings(self) -> dict[str, Any]:
        return {"seed": self.again, "change": self.change, "rank": self.rank}

    @guarded_about("settings")
    def _change_choice(self, _: object) -> None:
        self._show_best()

    @guarded_about("settings")
    def _change_rank(self, _: object) -> None:
        self._show_best()
        self._show_reach()

    @guarded_about("settings")
    def _draw_again(self, _: object) -> None:
        self._changes = weight_changes(seed=self.again.value)
        self._show_best()
        self._show_reach()

    def _show_best(self) -> None:
        """The chosen change beside the best that each k can make of it."""
        self.best = best_changes(self._changes[self.change.value], r=self.rank.value, ks=KS)
        self.heatmaps.show(draw_weight_changes(self.best))

    def _show_reach(self) -> None:
        """All changes at this rank."""
        self.reach = rank_reach(self._changes, r=self.rank.value, ks=KS)
        self.errors_over_k.show(draw_rank_reach(self.reach))
