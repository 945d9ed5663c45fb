"""A panel that trains: Train, Pause and Stop, and a look at the session under way ten times a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from glora_lab.page.cell import running_cell
from glora_lab.page.controls import widgets
from glora_lab.page.controls.widgets import Button
from glora_lab.page.following import FollowingPanel
from glora_lab.page.panel import PANELS, guarded
from glora_lab.page.stage import classed
from glora_lab.page.unattended import unattended
from glora_lab.training.in_turn import in_turn

from .record import Step

TRAIN = "Trains a copy of the model as the controls say."
PAUSE = "Rests after the step under way; pressed again, it goes on."
STOP = "Ends the run after the step under way; what it has learnt stays."
BETWEEN_FRAMES = 0.25  # seconds
Same = TypeVar("Same", bound="SessionPanel")


class SessionPanel(FollowingPanel):
    """The buttons of the session that a subclass starts and then asks to `_follow`.

    A subclass says what the first button does (`start`, with the `word` on it and the sentence that it `says`), what
    is shown at each look (`_show`) and what becomes of a session that is over (`_over`). `session` is the latest,
    `steps` its steps so far.
    """

    between_looks = 0.1  # seconds

    def __init__(self, start: Callable[[], None], word: str = "Train", says: str = TRAIN) -> None:
        super().__init__()
        self._cell = running_cell()
        self.start_button = Button(description=word, icon="play", says=says, button_style="primary")
        self.pause_button = Button(description="Pause", icon="pause", says=PAUSE, disabled=True)
        self.stop_button = Button(description="Stop", icon="stop", says=STOP, disabled=True)
        self.buttons = classed(widgets.HBox([self.start_button, self.pause_button, self.stop_button]), "glora-buttons")
        self.start_button.on_click(lambda _: start())
        self.pause_button.on_click(lambda _: self.pause_or_resume())
        self.stop_button.on_click(lambda _: self.stop())

    def _show(self) -> None:
        raise NotImplementedError

    def _replaced(self: Same) -> list[Same]:
        """The panels of its kind that an earlier run of the same cell made, and that still train."""
        others = [panel for panel in PANELS if isinstance(panel, type(self)) and panel is not self]
        cell = self._cell
        return [panel for panel in others if panel.under_way and cell is not None and cell.replaces(panel._cell)]

    @property
    def steps(self) -> tuple[Step, ...]:
        return self.session.steps if self.session else ()

    @property
    def under_way(self) -> bool:
        return self.session is not None and not self.session.finished

    @guarded
    def pause_or_resume(self) -> None:
        """Rest after the step under way, or go on."""
        if self.session is not None and self.under_way:
            resting = self.session.state in ("pausing", "paused")
            self.session.resume() if resting else self.session.pause()
        self.refresh()

    @guarded
    def stop(self) -> None:
        """End the session after the step under way; it counts as one of as many steps as it had."""
        if self.session is not None and self.under_way:
            self.session.stop()
        self.refresh()

    def wait(self, timeout: float | None = None) -> tuple[Step, ...]:
        """Block until the session is over, show its end and return its steps. Errors as `TrainSession.wait`."""
        if self.session is None:
            return ()
        if unattended() and timeout is None:
            self._look_on()
        try:
            return self.session.wait(timeout)
        finally:
            self.refresh()
            self._last_picture.now()

    def _look_on(self) -> None:
        """Look now and then although no page does: a saved notebook shows the run as it went."""
        while self.session is not None and self.session.state == "running":
            time.sleep(BETWEEN_FRAMES)
            self.refresh()

    @in_turn
    def close(self) -> None:
        """Stop training and close every widget."""
        if self.session is not None and self.under_way:
            self.session.stop()
        super().close()

    def _look(self) -> None:
        resting = self.session is not None and self.session.state in ("pausing", "paused")
        self.start_button.disabled = self.under_way
        self.pause_button.disabled = self.stop_button.disabled = not self.under_way
        self.pause_button.description, self.pause_button.icon = ("Resume", "play") if resting else ("Pause", "pause")
        self._show()
