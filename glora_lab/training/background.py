"""Training in a thread of its own, so that a notebook stays alive while a model trains.

Decisions. Nobody is called back unless `on_step` is given: a panel polls `state` and `steps`, which are safe
to read from any thread. `pause()` and `stop()` return at once and the step under way is still finished, which
is why the states "pausing" and "stopping" exist: only "paused" and the final states promise that the model
rests. The thread sleeps for a millisecond now and then, which keeps the page responsive for 2% of the speed.
Who holds what, and in which order, is written in `in_turn`.
"""

from __future__ import annotations

import atexit
import math
import os
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from numbers import Real
from typing import Literal, TypeAlias

from glora_lab.arguments import check_function, refuse
from glora_lab.ideas.training.record import Step

from .in_turn import TURN, Turn, inside_a_step, lent_to
from .interrupt import interrupted

State: TypeAlias = Literal["ready", "running", "pausing", "paused", "stopping", "stopped", "done", "failed"]

FINAL: frozenset[State] = frozenset({"stopped", "done", "failed"})
BREATH_EVERY = 0.05  # seconds of training between two sleeps
BREATH = 0.001  # seconds; without it a busy thread makes every widget lag
LONGEST_STEP = 60.0  # seconds that Python's end waits for the step under way
FORKED = (
    "this session trains in the process that this one was forked from, and has no thread here: make a new "
    "one with a model of its own"
)

_begun: weakref.WeakSet[Background] = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    """A thread still inside torch when Python ends aborts the whole process, daemon or not: stop it first."""
    begun = list(_begun)
    for session in begun:
        session.stop()
    for session in begun:
        session._thread.join(LONGEST_STEP)


def _check_timeout(timeout: float | None) -> None:
    if timeout is None:
        return
    if isinstance(timeout, bool) or not isinstance(timeout, Real) or not 0 <= timeout <= threading.TIMEOUT_MAX:
        raise refuse("timeout", timeout, "must be seconds, 0 or more, or None")


def _end_in_child() -> None:
    """A forked child has the sessions' objects and none of their threads."""
    for session in list(_begun):
        session._end_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_end_in_child)


class Background:
    """A generator of steps, advanced in a daemon thread: start, pause, resume, stop, wait.

    `total` is how many steps it has. `on_step` is called in the training thread after each step; what it raises
    ends the run as "failed", as does what the generator raises. It runs once.
    """

    def __init__(
        self, training: Generator[Step, None, None], total: int, on_step: Callable[[Step], object] | None = None
    ) -> None:
        check_function("on_step", on_step, "a step")
        self._training = training
        self._total = total
        self._on_step = on_step
        self._steps: list[Step] = []
        self._error: BaseException | None = None
        self._state: State = "ready"
        self._changed = threading.Condition()  # guards _state; told of every change of it
        self._model_in_use = Turn()  # held while a step is under way
        self._thread = self._new_thread()

    @property
    def state(self) -> State:
        """Where the run stands, from "ready" to "done", "stopped" or "failed"."""
        return self._state

    @property
    def finished(self) -> bool:
        """Whether the run is stopped, done or failed."""
        return self._state in FINAL

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps so far."""
        return tuple(self._steps)

    @property
    def total(self) -> int:
        """How many steps the run takes if nothing stops it."""
        return self._total

    @property
    def error(self) -> BaseException | None:
        """What ended a failed run."""
        return self._error

    @property
    def seconds_left(self) -> float:
        """Training time still to come at the mean speed so far; nan before the first step, 0 when over."""
        if self.finished:
            return 0.0
        if not self._steps:
            return math.nan
        seconds, taken = self._spent()
        return seconds / taken * (self._total - taken)

    def _spent(self) -> tuple[float, int]:
        """Training time so far, and the steps that it went to."""
        return self._steps[-1].seconds, self._steps[-1].index

    def start(self) -> None:
        """Begin. RuntimeError if the session was started or stopped before, or no thread is to be had.

        Without a thread the session stays "ready", and may be started when there is one.
        """
        with self._changed:
            if self._state != "ready":
                raise RuntimeError(
                    f"this session is {self._state} and starts only once: make a new {type(self).__name__}"
                )
            self._set("running")
            _begun.add(self)
            try:
                self._thread.start()
            except Exception as error:
                _begun.discard(self)
                self._thread = self._new_thread()
                self._set("ready")
                raise RuntimeError(f"no thread is to be had for this session, start() it later: {error}") from error

    def pause(self) -> None:
        """Rest after the step under way. Does nothing where the run already rests or is over."""
        with self._changed:
            self._check_started("pause")
            if self._state == "running":
                self._set("pausing")

    def resume(self) -> None:
        """Go on after a pause. Does nothing where the run goes on already or is over."""
        with self._changed:
            self._check_started("resume")
            if self._state in ("pausing", "paused"):
                self._set("running")

    def stop(self) -> None:
        """End after the step under way, from a pause too. Does nothing where the run is over."""
        with self._changed:
            if self._state == "ready":
                self._set("stopped")
            elif self._state not in FINAL:
                self._set("stopping")

    def wait(self, timeout: float | None = None) -> tuple[Step, ...]:
        """Block until the run is over and return its steps; what ended a failed run is raised again.

        RuntimeError if nothing would ever end the wait (not started, called by the session's own thread, or without
        a `timeout` a pause, whether it was there before or comes meanwhile); TimeoutError after `timeout` seconds,
        with the run going on; KeyboardInterrupt, with the run going on, where the reader interrupts it.
        """
        _check_timeout(timeout)
        if threading.current_thread() is self._thread:
            raise RuntimeError("wait() in `on_step` would wait for itself: stop() ends the run after this step")
        try:
            with lent_to(self._thread):
                self._wait(timeout)
        except KeyboardInterrupt:
            raise interrupted(self._state, len(self._steps), self._total) from None
        if self._error is not None:
            raise self._error
        return self.steps

    def _wait(self, timeout: float | None) -> None:
        with self._changed:
            self._check_started("wait")
            if not self._changed.wait_for(lambda: self.finished or self._rests_for(timeout), timeout):
                raise TimeoutError(f"after {timeout} s the session is {self._state} at step {len(self._steps)}")
            if not self.finished:
                raise RuntimeError("this session is paused: resume() or stop() it before you wait()")
        if self._thread.ident is not None:
            self._thread.join()

    def _rests_for(self, timeout: float | None) -> bool:
        return timeout is None and self._state == "paused"

    @contextmanager
    def between_steps(self) -> Iterator[None]:
        """Hold training between two steps while the block runs, so that the model can be asked or drawn.

        Readers' clicks are answered after it, see `in_turn`. The block may touch the session's panels, rest it once
        more, and wait for it, when it goes on. RuntimeError from inside a step, its metric say.
        """
        with TURN, self._model_in_use:
            yield

    def _check_started(self, action: str) -> None:
        if self._state == "ready":
            raise RuntimeError(f"{action}() needs a session that was started: call start() first")

    def _new_thread(self) -> threading.Thread:
        return threading.Thread(target=self._train, name=type(self).__name__, daemon=True)

    def _end_in_child(self) -> None:
        self._changed = threading.Condition()
        if not self.finished:
            self._state, self._error = "failed", RuntimeError(FORKED)

    def _set(self, state: State) -> None:
        with self._changed:
            self._state = state
            self._changed.notify_all()

    def _train(self) -> None:
        breathed = time.perf_counter()
        outcome: State = "stopped"
        try:
            while self._may_go_on():
                with self._model_in_use, inside_a_step():
                    if self._state != "running":  # it was asked to rest or to end while somebody had the model
                        continue
                    step = next(self._training)
                self._steps.append(step)
                if self._on_step is not None:
                    self._on_step(step)
                if time.perf_counter() - breathed > BREATH_EVERY:
                    time.sleep(BREATH)
                    breathed = time.perf_counter()
            if len(self._steps) == self._total:
                outcome = "done"
        except BaseException as error:  # kept for wait(), which raises it where somebody can see it
            self._error = error
            outcome = "failed"
        finally:
            with self._model_in_use:
                self._training.close()
            self._set(outcome)

    def _may_go_on(self) -> bool:
        """Rest here while a pause lasts; False once all steps are done or a stop was asked for."""
        with self._changed:
            while self._state in ("pausing", "paused"):
                self._set("paused")
                self._changed.wait()
            return self._state == "running" and len(self._steps) < self._total
