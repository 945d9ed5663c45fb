"""What a reader does is answered in turn, whichever thread it comes on.

JupyterLab sends what happens to a control to a thread of its own in the kernel, a subshell; but the first message of
each control to the main thread, where cells run. So two answers may be under way at once, and one that read the
controls earlier and takes longer would have the last word: the picture would not be what the controls say. With one
lock for all panels the last answer is the one that began last, and it finds every control as it stands.

The order of the locks, here and nowhere else: first the turn; then a session's step, which its thread holds while a
step is under way; then a figure's place. Whoever holds a session between two steps has the turn as well, for an
answer may ask the same model. Three rules keep everybody moving:

- A thread takes again what it has: a cell that rests a session may touch its panels, and so may whatever the event
  loop runs on that thread while the cell awaits.
- Who waits for a session lends its thread what they have: it finishes its step, and what `on_step` does, while they
  could do nothing with it.
- Inside a step the turn is refused in words, for it would be taken after the step.

In a forked child only the thread that forked goes on, so what other threads had is free there.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Turn:
    """A lock that its thread may take again, and may lend to another; in a forked child it is free."""

    def __init__(self, *, before_steps: bool = False) -> None:
        self._moved = threading.Condition(threading.Lock())  # guards the two below
        self._holders: list[int] = []  # threads, each once for every time that it took it; the last one has it
        self._borrower: int | None = None
        self._before_steps = before_steps
        with _counting:
            _turns.add(self)

    def acquire(self, blocking: bool = True) -> bool:
        thread = threading.get_ident()
        before = self._holders.count(thread)
        if self._before_steps and not before and getattr(_here, "steps", False):
            raise RuntimeError(
                "a step under way, its metric say, can neither touch a panel nor rest a session, which wait for the "
                "step: do that in `on_step`, which is called between two"
            )
        try:
            with self._moved:
                if not blocking and not self._is_for(thread):
                    return False
                self._moved.wait_for(lambda: self._is_for(thread))
                self._holders.append(thread)
        except BaseException:  # an interrupt, which may come when it is taken already
            if self._holders.count(thread) > before:
                self.release()
            raise
        return True

    def release(self) -> None:
        with self._moved:
            mine = [n for n, thread in enumerate(self._holders) if thread == threading.get_ident()]
            del self._holders[mine[-1]]
            self._moved.notify_all()

    def locked(self) -> bool:
        return bool(self._holders)

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def _is_for(self, thread: int) -> bool:
        return not self._holders or thread in (self._holders[-1], self._borrower)

    @contextmanager
    def _lent_to(self, thread: int | None) -> Iterator[None]:
        """Let that thread take it within the block, where this one could; at its end, wait until it is given back."""
        with self._moved:
            lender, lends = self._borrower, bool(self._holders) and self._is_for(threading.get_ident())
            if lends:
                self._borrower = thread
                self._moved.notify_all()
        try:
            yield
        finally:
            with self._moved:
                if lends:
                    self._borrower = lender
                    self._moved.wait_for(lambda: self._holders[-1] != thread)

    def _free_in_child(self) -> None:
        self._moved, self._borrower = threading.Condition(threading.Lock()), None
        self._holders = [thread for thread in self._holders if thread == threading.get_ident()]


_counting = threading.Lock()  # guards _turns
_turns: weakref.WeakSet[Turn] = weakref.WeakSet()
_here = threading.local()  # .steps: whether this thread is inside a step
TURN = Turn(before_steps=True)


@contextmanager
def inside_a_step() -> Iterator[None]:
    _here.steps = True
    try:
        yield
    finally:
        _here.steps = False


@contextmanager
def lent_to(thread: threading.Thread) -> Iterator[None]:
    """Lend a thread that is waited for all that this one has."""
    with _counting:
        turns = sorted(_turns, key=lambda turn: turn is TURN)  # TURN comes back first: who has it may want the others
    with ExitStack() as lent:
        for turn in turns:
            lent.enter_context(turn._lent_to(thread.ident))
        yield


def in_turn(handler: Callable[P, R]) -> Callable[P, R]:
    """A handler that waits for the one under way."""

    @wraps(handler)
    def handler_in_turn(*args: P.args, **kwargs: P.kwargs) -> R:
        with TURN:
            return handler(*args, **kwargs)

    return handler_in_turn


def _free_in_child() -> None:
    global _counting
    _counting = threading.Lock()
    for turn in list(_turns):
        turn._free_in_child()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_free_in_child)
