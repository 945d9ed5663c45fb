"""Whether the page has drawn what it was sent, so that a slow page gets fewer pictures and not a queue of them.

A page works through its messages in their order. After each picture it is sent a number, and a link of ipywidgets,
which lives in the page, copies that into a second one and sends it back: it comes when the picture is drawn. A page
that never answered is not waited for: there may be none, as when a script runs a notebook.
"""

from __future__ import annotations

import time
from typing import Any

from traitlets import Int

from glora_lab.page.controls import widgets
from glora_lab.page.controls.widgets import Steady

LONGEST = 2.0  # seconds; a page that was closed, or is loaded anew, does not answer any more


class AnsweringPage(Steady):
    """Before a widget among the bases: ask with `ask()` after what takes its time to draw; `_caught_up` is called when
    the page has drawn it.

    `took` is how many seconds its last answer took.
    """

    asked = Int(0).tag(sync=True)
    answered = Int(0).tag(sync=True)

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._asked_at, self.took = 0.0, 0.0
        self._link = widgets.jsdlink((self, "asked"), (self, "answered"))
        self.observe(self._heard, "answered")

    def ask(self) -> None:
        self._asked_at = time.monotonic()
        self.asked += 1

    @property
    def seconds_to_wait(self) -> float:
        """How long an answer may still be waited for; 0 where it has come, or none ever came."""
        if not 0 < self.answered < self.asked:
            return 0.0
        return max(0.0, self._asked_at + LONGEST - time.monotonic())

    def close(self) -> None:
        self._link.close()
        super().close()

    def _caught_up(self) -> None:
        raise NotImplementedError

    def _heard(self, change: object) -> None:
        if self.answered >= self.asked:
            self.took = min(time.monotonic() - self._asked_at, LONGEST)
            self._caught_up()
