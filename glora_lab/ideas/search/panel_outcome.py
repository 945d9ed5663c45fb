"""What a search says beside its points: whether its engine is to be believed, and what each choice is worth."""

from __future__ import annotations

import html
from contextlib import suppress
from typing import Any

from glora_lab.page.controls import widgets
from glora_lab.page.figure_slot import FigureSlot

from .figure_importance import draw_agreement, draw_importance
from .record import Agreement, Importance

ENOUGH = 10  # trials for an importance
GATE = "The gate: {}."


class Outcome(widgets.VBox):
    """`show` says what the gate said, `explain` what each choice is worth; `importance` is that, None before."""

    def __init__(self) -> None:
        self.importance: Importance | None = None
        self._shown: Agreement | None = None
        self.says = widgets.HTML()
        self.agreement, self.worth = FigureSlot(height=320), FigureSlot(height=260)
        super().__init__([self.says, self.agreement, self.worth])
        self.clear()

    def clear(self) -> None:
        self.importance, self._shown, self.says.value = None, None, ""
        self.agreement.clear()
        self.worth.clear()

    def show(self, agreement: Agreement | None, said: str) -> None:
        self.says.value = f'<p role="status">{html.escape(GATE.format(said))}</p>' if said else ""
        if agreement is not None and agreement is not self._shown:
            self._shown = agreement
            self.agreement.show(draw_agreement(agreement))

    def explain(self, study: Any) -> None:
        """By the trials of a study that can say it, or as it was kept."""
        kept = getattr(study, "importance", None)
        if isinstance(kept, Importance):
            self.importance = kept
        elif kept is not None and len(study.trials) >= ENOUGH:
            with suppress(ValueError):  # accuracy was no objective of this search
                self.importance = kept()
        if self.importance is not None:
            self.worth.show(draw_importance(self.importance))
