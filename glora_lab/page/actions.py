"""One action of a reader, and all that it changes.

A reader moves one control, and its handlers move others: a preset the modes, another layer the channel. Whoever keeps
steps to undo has to know that these belong together, in whatever order they are heard. So each thread knows the action
that it is answering: the outermost block of `one_action` is it.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Action:
    """What began it, a control say, when it began and ended (seconds of a steady clock), and whether by a page."""

    def __init__(self, of: object, from_page: bool) -> None:
        self.of, self.from_page, self.began, self.ended = of, from_page, time.monotonic(), math.inf


_here = threading.local()


@contextmanager
def one_action(of: object, *, from_page: bool = False) -> Iterator[None]:
    """All that changes within the block is one action; within another block it is part of that."""
    outer = action_under_way()
    action = _here.action = outer or Action(of, from_page)
    try:
        yield
    finally:
        _here.action = outer
        if outer is None:
            action.ended = time.monotonic()


def action_under_way() -> Action | None:
    return getattr(_here, "action", None)
