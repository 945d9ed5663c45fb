"""A panel that looks at a session while it trains.

Training runs in a thread of its own and calls nobody. The panel looks at it from the kernel's own event loop, so no
widget is ever touched from another thread. Where no loop runs, in a script or a test, `refresh()` is that look.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

from glora_lab.training.background import FINAL, Background

from .film import Film
from .looking import look_again
from .panel import Panel

Session: TypeAlias = Background


class FollowingPanel(Panel):
    """A subclass says what a look shows (`_look`), and what becomes of a session that is over (`_over`, called once).

    It measures the model under `_resting`. `session` is the latest that it followed.
    """

    between_looks = 0.25  # seconds

    def __init__(self) -> None:
        super().__init__()
        self.session: Session | None = None
        self._seen: tuple[str, int] | None = None
        self._before = False  # whether it followed another
        self.film = Film()

    def _look(self) -> None:
        raise NotImplementedError

    def _over(self, session: Session) -> None:
        """What ended a failed session is kept and shown."""
        if session.error is not None:
            raise session.error

    def refresh(self) -> None:
        """Show where the session is by now; cheap where nothing is new."""
        with self.guard("session"):
            session = self.session
            if session is None:
                return
            seen = session.state, len(session.steps)  # the state first, so that the last look sees the last step
            if seen == self._seen:
                return
            self._seen = seen
            try:
                self._look()
            finally:
                if seen[0] in FINAL:
                    self._over(session)
            if seen[1] or not self._before:  # till the first step the pictures of an earlier session still stand
                self.film.take(seen[1], (place.picture for place in self.pictured()))

    def _follow(self, session: Session) -> None:
        """Look at this session from now on, until it is over: from the event loop where one runs, else at `refresh`."""
        self._before = self.session is not None
        self.session, self._seen, self.film = session, None, Film()
        self.say("", about="session")
        self.refresh()
        errors = len(self.errors)

        def look() -> bool:
            if self.session is not session or self.comm is None:  # replaced or closed meanwhile
                return False
            self.refresh()
            return len(self.errors) == errors and self._seen is not None and self._seen[0] not in FINAL

        look_again(look, self.between_looks)

    @contextmanager
    def _resting(self) -> Iterator[None]:
        """Between two steps of the session, where there is one."""
        if self.session is None:
            yield
        else:
            with self.session.between_steps():
                yield


def status(state: str, done: int, total: int, seconds_left: float, each: str = "") -> str:
    """Where a session is, in words: "running: step 37 of 150, 4 s left"."""
    left = "" if math.isnan(seconds_left) or not seconds_left else f", {math.ceil(seconds_left)} s left"
    return f"{state}: step {done:,} of {total:,}{each}{left}"
