"""What a reader does is answered in turn, whichever thread it comes on.

JupyterLab sends what happens to a control to a thread of its own in the kernel, a subshell; but the first message of
each control to the main thread, where cells run. So two answers may be under way at once, and one that read the
controls earlier and takes longer would have the last word: the picture would not be what the controls say. With one
lock for all panels the last answer is the one that began last, and it finds every control as it stands.

Whoever holds a session between two steps has the turn as well, for an answer may ask the same model: two locks that
are taken in two orders would wait for each other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

TURN = threading.RLock()  # of one thread: an answer may move controls, whose answers are part of it
P = ParamSpec("P")
R = TypeVar("R")


def in_turn(handler: Callable[P, R]) -> Callable[P, R]:
    """A handler that waits for the one under way."""

    @wraps(handler)
    def handler_in_turn(*args: P.args, **kwargs: P.kwargs) -> R:
        with TURN:
            return handler(*args, **kwargs)

    return handler_in_turn
