"""Interrupting a wait: one line on the page, and in a script the end of it, as any interrupt."""

from __future__ import annotations


def interrupted(state: str, step: int, total: int) -> KeyboardInterrupt:
    """What an interrupted wait raises: the training that it waited for goes on.

    No class of its own, for only the very KeyboardInterrupt ends a script as the signal does.
    """
    interrupt = KeyboardInterrupt(
        f"the wait was interrupted, the session is {state} at step {step:,} of {total:,} and is left to itself: "
        "stop() it, or press its panel's Stop, to end it"
    )
    vars(interrupt)["_render_traceback_"] = lambda: [f"KeyboardInterrupt: {interrupt}"]  # IPython's in its place
    return interrupt
