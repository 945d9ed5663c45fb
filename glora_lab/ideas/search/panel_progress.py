"""Where a search is by now: a bar, and in words what is done, how much of it, and how long it still takes."""

from __future__ import annotations

import html
import math

from glora_lab.page.controls import widgets
from glora_lab.page.controls.widgets import IntProgress
from glora_lab.page.following import Session
from glora_lab.page.stage import classed
from glora_lab.search import SearchSession

from .panel_found import Found

LOOKS = {"done": "success", "failed": "danger", "stopped": "warning"}
A_MINUTE = 60.0  # seconds


class Progress(widgets.HBox):
    """`look` shows where a session is; `words` says it."""

    def __init__(self) -> None:
        self.bar = IntProgress(0, 0, 1, description="progress", says="How much of the search is done.")
        self.line = widgets.HTML()
        super().__init__([self.bar, self.line])
        classed(self, "glora-where")

    def look(self, session: Session, words: str) -> None:
        self.bar.max = max(session.total, 1)
        self.bar.value = session.total if session.state == "done" else len(session.steps)
        self.bar.bar_style = LOOKS.get(session.state, "")
        self.line.value = html.escape(words)

    def follow(self, found: Found) -> None:
        """The same of a study that others fill."""
        if where := found.where:
            self.bar.max, self.bar.value = max(found.study.total, 1), len(found.study.trials)
            self.line.value = html.escape(where)


def words_of(session: SearchSession) -> str:
    """ "running: trial 12 of 60, about 2 minutes left"."""
    return f"{session.state}: {session.stage}{left_in_words(session.seconds_left)}"


def left_in_words(seconds: float) -> str:
    """ ", 40 s left", or nothing where that is not known, or over."""
    if math.isnan(seconds) or not seconds:
        return ""
    if seconds < 2 * A_MINUTE:
        return f", {math.ceil(seconds)} s left"
    return f", about {math.ceil(seconds / A_MINUTE)} minutes left"
