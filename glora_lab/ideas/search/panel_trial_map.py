"""The trials as a picture, one of them chosen: by a click or the arrow keys in it, or by its number.

Where the picture cannot be clicked, in Colab, it is `draw_search`'s figure, and the number does the choosing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import replace

from glora_lab.drawing.picture import Picture
from glora_lab.page.controls import widgets
from glora_lab.page.controls.widgets import BoundedIntText
from glora_lab.page.figure_slot import FigureSlot
from glora_lab.page.unattended import in_colab
from glora_lab.training.in_turn import in_turn

from .figure import draw_search
from .figure_search_points import across, search_points, words_of
from .panel_trial_chooser import TrialChooser
from .record import SearchResult, Trial

BEST = -1  # what the number says where the best within the limit is meant
MOST = 999_999
NUMBER = "The number of the trial that is shown; −1 for the best within the limit."
NOT_CLICKABLE = "The picture cannot be clicked on this page: choose the trial by its number."


class TrialMap(widgets.VBox):
    """Shows a search with `show`, and with `move` its limit; `chosen` is the trial that is shown, None where there is
    none, `best` the most accurate one within the limit.

    `number` is the control that says which is chosen; the owner places it, hears it and then asks for `mark`.
    """

    def __init__(self, on_drawn: Callable[[], None] = lambda: None) -> None:
        self.found, self.limit = SearchResult(()), 1
        self.best: Trial | None = None
        self.chosen: Trial | None = None
        self.drawn = on_drawn  # told of each picture: see LastPicture
        self._edges, self._setting = (1, 1), False
        self._front: tuple[Trial, ...] = ()
        self._by_number: dict[int, tuple[int, Trial]] = {}
        self.number = BoundedIntText(
            BEST, min=BEST, max=MOST, description="trial", says=NUMBER, layout={"width": "160px"}
        )
        self.chooser = None if in_colab() else TrialChooser()
        self.figure = FigureSlot(height=400) if self.chooser is None else None
        shown = [self.chooser] if self.figure is None else [widgets.HTML(NOT_CLICKABLE), self.figure]
        super().__init__(shown)
        if self.chooser is not None:
            self.chooser.observe(self._clicked, "chosen")

    @property
    def picture(self) -> Picture | None:
        """The same as a figure, for pages without widgets; a drawn one is its slot's."""
        return None if self.figure is not None else self._drawn_still()

    @in_turn
    def show(self, found: SearchResult, least: int, most: int) -> None:
        """Draw this search between these numbers of parameters."""
        self.found, self._edges = found, (least, most)
        self._front = found.front
        self._by_number = {trial.number: (place, trial) for place, trial in enumerate(found.trials)}
        if self.chooser is not None:
            self.chooser.points = search_points(found, least, most)
        self.mark()

    @in_turn
    def move(self, limit: int) -> None:
        """Another limit: its line, and the best within it."""
        self.limit = limit
        self.mark()

    @in_turn
    def mark(self) -> None:
        """Mark the trial that the number says."""
        within = bisect_right([trial.params for trial in self._front], self.limit)
        self.best = self._front[within - 1] if within else None
        asked = self.number.value
        self.chosen = self.best if asked == BEST else self._by_number.get(asked, (0, None))[1]
        if self.chooser is not None:
            self._setting = True
            self.chooser.chosen = -1 if self.chosen is None else self._by_number[self.chosen.number][0]
            self.chooser.limit = across(self.limit, *self._edges)
            self.chooser.note = self.note
            self._setting = False
            self.drawn()
        elif self.figure is not None:
            self.figure.show(self._drawn_still())

    @property
    def note(self) -> str:
        """The best within the limit, and the chosen trial where it is another."""
        within = f"within {self.limit:,}" if self.limit < self._edges[1] else "of all"
        best = words_of(self.best) if self.best else "none yet" if not self.found.trials else "no trial is so small"
        says = f"Best {within}: {best}."
        if self.chosen is None and self.number.value != BEST:
            return f"{says} There is no trial {self.number.value:,} yet."
        return says if self.chosen is self.best or self.chosen is None else f"{says} Chosen: {words_of(self.chosen)}."

    @in_turn
    def _clicked(self, change: dict[str, int]) -> None:
        """A place that there is not was clicked late, and is left alone."""
        if not self._setting and 0 <= change["new"] < len(self.found.trials):
            self.number.value = self.found.trials[change["new"]].number

    def _drawn_still(self) -> Picture:
        chosen = self.chosen.number if self.chosen else None
        return draw_search(replace(self.found, limit=self.limit if self.found.trials else None), chosen)
