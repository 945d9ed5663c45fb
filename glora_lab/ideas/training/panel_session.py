"""A panel that trains: buttons, and a look at the session under way ten times a second.

Training runs in a thread of its own and calls nobody. The panel looks at it from the kernel's own event loop, so no
widget is ever touched from another thread. Where no loop runs, in a script or a test, `refresh()` is that look, and
`wait()` waits for the end and then looks.
"""

from __future__ import annotations

from glora_lab.page.controls import widgets
from glora_lab.page.controls.widgets import Button
from glora_lab.page.looking import look_again
from glora_lab.page.panel import Panel, guarded
from glora_lab.page.stage import classed
from glora_lab.training import Race, TrainSession
from glora_lab.training.in_turn import in_turn

from .record import Step

BETWEEN_LOOKS = 0.1  # seconds
TRAIN = "Trains a copy of the model as the controls say."
PAUSE = "Rests after the step under way; pressed again, it goes on."
STOP = "Ends the run after the step under way; what it has learnt stays."
Session = TrainSession | Race


class SessionPanel(Panel):
    """Train, Pause and Stop, for the session that a subclass starts and then asks to `_follow`.

    A subclass says what Train does (`train`), what is shown at each look (`_show`) and what becomes of a session
    that is over (`_record`, called once). `session` is the latest, `steps` its steps so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.session: Session | None = None
        self._recorded = True
        self.train_button = Button(description="Train", icon="play", says=TRAIN, button_style="primary")
        self.pause_button = Button(description="Pause", icon="pause", says=PAUSE, disabled=True)
        self.stop_button = Button(description="Stop", icon="stop", says=STOP, disabled=True)
        self.buttons = classed(widgets.HBox([self.train_button, self.pause_button, self.stop_button]), "glora-buttons")
        self.train_button.on_click(lambda _: self.train())
        self.pause_button.on_click(lambda _: self.pause_or_resume())
        self.stop_button.on_click(lambda _: self.stop())

    def train(self) -> None:
        raise NotImplementedError

    def _show(self) -> None:
        raise NotImplementedError

    def _record(self, session: Session) -> None:
        raise NotImplementedError

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
        try:
            return self.session.wait(timeout)
        finally:
            self.refresh()

    def refresh(self) -> None:
        """Show where the session is by now, and record it when it is over."""
        with self.guard("session"):
            if self.session is None:
                return
            over = self.session.finished  # asked before looking, so that the last look sees the last step
            self._show()
            self._show_buttons()
            if over and not self._recorded:
                self._recorded = True
                self._record(self.session)

    @in_turn
    def close(self) -> None:
        """Stop training and close every widget."""
        if self.session is not None and self.under_way:
            self.session.stop()
        super().close()

    def _follow(self, session: Session) -> None:
        """From now on this is the session. Look at it from the event loop, where one runs, until it is recorded."""
        self.session, self._recorded = session, False
        self.say("", about="session")
        self.refresh()
        errors = len(self.errors)

        def look() -> bool:
            if self.session is not session or self.comm is None:  # replaced or closed meanwhile
                return False
            self.refresh()
            return not self._recorded and len(self.errors) == errors

        look_again(look, BETWEEN_LOOKS)

    def _show_buttons(self) -> None:
        resting = self.session is not None and self.session.state in ("pausing", "paused")
        self.train_button.disabled = self.under_way
        self.pause_button.disabled = self.stop_button.disabled = not self.under_way
        self.pause_button.description, self.pause_button.icon = ("Resume", "play") if resting else ("Pause", "pause")
