"""A panel that shows a model while somebody else's session trains it: it looks, and starts and stops nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from glora_lab.page.controls import widgets
from glora_lab.training import TrainSession
from glora_lab.training.in_turn import in_turn

from .looking import look_again
from .panel import Panel

BETWEEN_LOOKS = 0.25  # seconds


class FollowingPanel(Panel):
    """A subclass says what a look shows (`_look`), and measures the model under `_resting`."""

    def __init__(self) -> None:
        super().__init__()
        self._session: TrainSession | None = None
        self._seen: tuple[str, int] | None = None
        self._status = widgets.HTML()

    def _look(self) -> None:
        raise NotImplementedError

    def refresh(self) -> None:
        """Show where the session is by now; cheap where nothing is new."""
        with self.guard("session"):
            session = self._session
            if session is None or (session.state, len(session.steps)) == self._seen:
                return
            self._seen = session.state, len(session.steps)
            self._status.value = status(*self._seen, session.total, session.seconds_left)
            self._look()
            if session.error is not None:
                raise session.error

    @in_turn
    def close(self) -> None:
        """Follow no session any more and close every widget; a session goes on."""
        self._session = None
        super().close()

    def _follow(self, session: TrainSession) -> None:
        """Look at this session from now on: from the event loop where one runs, else at `refresh`."""
        self._session, self._seen = session, None
        self.say("", about="session")
        self.refresh()

        def look() -> bool:
            if self._session is not session:
                return False
            over = session.finished  # asked before looking, so that the last look sees the last step
            self.refresh()
            return not over

        look_again(look, BETWEEN_LOOKS)

    @contextmanager
    def _resting(self) -> Iterator[None]:
        """Between two steps of the session, where there is one."""
        if self._session is None:
            yield
        else:
            with self._session.between_steps():
                yield


def status(state: str, done: int, total: int, seconds_left: float, each: str = "") -> str:
    """Where a session is, in words: "running: step 37 of 150, 4 s left"."""
    left = "" if math.isnan(seconds_left) or not seconds_left else f", {math.ceil(seconds_left)} s left"
    return f"{state}: step {done:,} of {total:,}{each}{left}"
