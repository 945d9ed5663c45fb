"""Looking at a session again and again from the kernel's own event loop, so that no thread touches a widget.

A look is left out while an answer is under way on another thread, for the loop that waited for it could run no cell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from glora_lab.training.in_turn import TURN


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that runs here, None in a script or a test."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def look_again(look: Callable[[], bool], seconds: float) -> None:
    """Call `look` every so many seconds until it returns False; where no event loop runs, never."""
    loop = running_loop()
    if loop is None:
        return

    def once_more() -> None:
        again = True
        if TURN.acquire(blocking=False):
            try:
                again = look()
            finally:
                TURN.release()
        if again:
            loop.call_later(seconds, once_more)

    loop.call_later(seconds, once_more)
