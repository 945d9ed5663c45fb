"""Whoever rests a session may do anything to it from there, and is answered or refused: nothing waits for itself."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest
from torch import nn

from glora_lab.data import Part
from glora_lab.records import Step
from glora_lab.training import Race, TrainSession, evaluate
from glora_lab.training.in_turn import TURN, Turn, in_turn
from tests.training.reader import brightest, reader

pytestmark = pytest.mark.timeout(300)
SECONDS = 100.0  # that nothing here takes
MANY = 10**6


def within(action: Callable[[], object]) -> object:
    """What the action returns or raises; an error where it never ends."""
    outcome: list[object] = []

    def run() -> None:
        try:
            outcome.append(action())
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert outcome, "it waits for itself"
    return outcome[0]


def session(steps: int = MANY, **options: object) -> TrainSession:
    return TrainSession(reader(), brightest(), steps=steps, lr=0.05, seed=0, **options)  # type: ignore[arg-type]


def started(steps: int = MANY, **options: object) -> TrainSession:
    made = session(steps, **options)
    made.start()
    return made


def ended(made: TrainSession | Race) -> str:
    made.stop()
    made.wait(SECONDS)
    return made.state


def test_it_may_be_rested_twice_by_one_thread_and_by_no_other() -> None:
    made, turns = started(), []

    def other() -> None:
        with made.between_steps():
            turns.append("other")

    def twice() -> None:
        with made.between_steps():
            with made.between_steps():
                pass
            other_thread.start()
            other_thread.join(0.1)
            before = len(made.steps)
            turns.append("first")
            assert len(made.steps) <= before + 1  # the last step may be counted only now

    other_thread = threading.Thread(target=other, daemon=True)
    assert within(twice) is None
    other_thread.join(SECONDS)
    assert turns == ["first", "other"] and ended(made) == "stopped"


def test_a_session_that_is_stopped_while_it_rests_takes_no_step_more() -> None:
    made = started()

    def stop_and_wait() -> int:
        with made.between_steps():
            time.sleep(0.05)
            before = len(made.steps)
            made.stop()
            return len(made.wait()) - before

    assert within(stop_and_wait) == 0 and made.state == "stopped"


def test_a_wait_in_the_block_lets_training_go_on() -> None:
    made = started(50)

    def wait() -> int:
        with made.between_steps():
            return len(made.wait())

    assert within(wait) == 50 and made.state == "done"


def test_after_a_wait_that_gave_up_the_session_rests_again() -> None:
    made = started()

    def wait() -> int:
        with made.between_steps():
            with pytest.raises(TimeoutError):
                made.wait(0.05)
            time.sleep(0.05)
            before = len(made.steps)
            time.sleep(0.1)
            return len(made.steps) - before

    assert within(wait) == 0 and ended(made) == "stopped"


def test_a_pause_in_the_block_ends_the_wait_in_words() -> None:
    made = started()

    def pause_and_wait() -> None:
        with made.between_steps():
            made.pause()
            made.wait()

    assert "this session is paused: resume() or stop() it" in str(within(pause_and_wait))
    assert made.state == "paused" and ended(made) == "stopped"


def test_on_step_may_rest_its_session_while_a_cell_that_rests_it_waits() -> None:
    rested: list[int] = []

    def on_step(step: Step) -> None:
        with made.between_steps():
            rested.append(step.index)

    made = session(5, on_step=on_step)

    def wait() -> int:
        with made.between_steps():
            made.start()
            return len(made.wait())

    assert within(wait) == 5 and rested == [1, 2, 3, 4, 5]


def test_on_step_is_answered_while_an_answer_waits_for_its_session() -> None:
    """A handler has the turn, and the steps that it waits for want it."""
    made = session(5, on_step=lambda step: in_turn(str)(step))

    def handler() -> int:
        made.start()
        return len(made.wait())

    assert within(in_turn(handler)) == 5


def test_another_sessions_steps_may_rest_the_one_that_is_rested() -> None:
    first = started()

    def on_step(step: Step) -> None:
        with first.between_steps():
            pass

    second = session(5, on_step=on_step)

    def wait() -> int:
        with first.between_steps():
            second.start()
            return len(second.wait())

    assert within(wait) == 5 and ended(first) == "stopped"


def test_a_chain_of_waits_is_lent_all_the_way() -> None:
    last = session(5, on_step=lambda step: in_turn(str)(step))

    def on_step(step: Step) -> None:
        if step.index == 1:
            last.start()
            last.wait()

    first = session(5, on_step=on_step)

    def handler() -> int:
        first.start()
        return len(first.wait())

    assert within(in_turn(handler)) == 5 and last.state == "done"


@pytest.mark.parametrize("kind", [TrainSession, Race])
def test_a_step_under_way_is_refused_the_turn_in_words(kind: type) -> None:
    """It would have it after its step, and everybody else has it before."""

    def metric(model: nn.Module, part: Part) -> float:
        with made.between_steps():
            return evaluate(model, part)

    models = reader() if kind is TrainSession else {"a": reader(), "b": reader(1)}
    made = kind(models, brightest(), steps=5, lr=0.05, seed=0, metric=metric)
    made.start()
    with pytest.raises(RuntimeError, match=r"can neither touch a panel nor rest a session.*`on_step`"):
        made.wait(SECONDS)
    with TURN:  # and it is free
        pass


def test_a_wait_for_oneself_is_refused() -> None:
    made = started(5, on_step=lambda step: made.wait())
    with pytest.raises(RuntimeError, match=r"wait\(\) in `on_step` would wait for itself: stop\(\)"):
        made.wait(SECONDS)


def test_what_runs_while_a_cell_awaits_may_rest_the_session_too() -> None:
    made, looks = started(), []

    def look() -> None:
        with made.between_steps():
            looks.append(len(made.steps))

    async def cell() -> None:
        asyncio.get_running_loop().call_later(0.02, look)
        with made.between_steps():
            await asyncio.sleep(0.1)

    assert within(lambda: asyncio.run(cell())) is None
    assert len(looks) == 1 and ended(made) == "stopped"


def test_a_lock_is_given_back_by_who_has_it() -> None:
    lock = Turn()
    with lock, lock:
        assert within(lambda: lock.acquire(blocking=False)) is False
    assert not lock.locked() and within(lambda: lock.acquire(blocking=False)) is True


FORK = """
import os, signal, sys, threading, time
from glora_lab.training import TrainSession
from glora_lab.training.in_turn import TURN
from tests.training.reader import brightest, reader

session = TrainSession(reader(), brightest(), steps=10**9, lr=0.01, seed=0)
other = threading.Thread(target=lambda: (TURN.acquire(), taken.set(), time.sleep(60)), daemon=True)
taken = threading.Event()
session.start()
while len(session.steps) < 5: time.sleep(0.01)
session._model_in_use.acquire()
other.start()
taken.wait()
child = os.fork()
if not child:
    signal.alarm(20)  # ends it where it waits for ever
    with session.between_steps():
        print(session.state, flush=True)
    session.stop()
    try:
        session.wait()
    except RuntimeError as error:
        print(error, flush=True)
    sys.exit(7)
_, status = os.waitpid(child, 0)
session._model_in_use.release()
print("child", status, "parent", session.state)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")
def test_a_forked_child_has_free_locks_and_no_session_under_way() -> None:
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK], capture_output=True, text=True, timeout=250, check=True
    )
    state, says, both = result.stdout.splitlines()
    assert state == "failed" and says.startswith("this session trains in the process that this one was forked from")
    assert both == f"child {7 << 8} parent running" and result.stderr == ""
