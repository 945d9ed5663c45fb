"""TrainSession: exact counts under pause and stop, errors that come out, and nothing that hangs."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glora_lab.records import Step
from glora_lab.training import TrainSession, fit
from tests.training.reader import Reader, brightest, reader

pytestmark = pytest.mark.timeout(300)


def session(
    model: Reader | None = None,
    *,
    steps: int = 20,
    at: dict[int, Callable[[TrainSession], object]] | None = None,
) -> TrainSession:
    """A session that, in its own thread, does `at[n]` right after step n."""

    def on_step(step: Step) -> None:
        if at and step.index in at:
            at[step.index](made)

    made = TrainSession(model or reader(), brightest(), steps=steps, lr=0.05, seed=0, on_step=on_step)
    return made


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 250
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.001)


def numbers(steps: tuple[Step, ...] | list[Step]) -> list[tuple[int, float, float]]:
    return [(step.index, step.loss, step.metric) for step in steps]


def paused_at(index: int, **kwargs: object) -> TrainSession:
    made = session(at={index: TrainSession.pause}, **kwargs)
    made.start()
    until(lambda: made.state == "paused")
    return made


def test_it_takes_the_steps_that_fit_takes() -> None:
    made = session()
    assert (made.state, made.steps, made.total, made.finished) == ("ready", (), 20, False)
    made.start()
    steps = made.wait()
    assert (made.state, made.error, made.finished) == ("done", None, True)
    assert steps == made.steps
    assert numbers(steps) == numbers(list(fit(reader(), brightest(), steps=20, lr=0.05, seed=0)))


def test_options_reach_fit_and_bad_ones_are_refused_at_once() -> None:
    made = TrainSession(reader(), brightest(), steps=6, lr=0.05, seed=0, eval_every=3, optimizer="sgd")
    made.start()
    assert [step.index for step in made.wait() if step.measured] == [1, 3, 6]
    with pytest.raises(ValueError, match="`lr`"):
        TrainSession(reader(), brightest(), steps=6, lr=0, seed=0)


def test_a_pause_holds_between_two_steps_and_costs_no_numbers() -> None:
    states: list[str] = []
    made = session(at={5: lambda it: (it.pause(), states.append(it.state))})
    made.start()
    until(lambda: made.state == "paused")
    assert states == ["pausing"]
    assert len(made.steps) == 5
    time.sleep(0.05)
    assert len(made.steps) == 5
    made.resume()
    assert made.state == "running"
    assert numbers(made.wait()) == numbers(list(fit(reader(), brightest(), steps=20, lr=0.05, seed=0)))


def test_a_pause_is_no_training_time() -> None:
    started = time.perf_counter()
    made = paused_at(5)
    time.sleep(0.3)
    made.resume()
    last = made.wait()[-1]
    assert last.seconds < time.perf_counter() - started - 0.3


def test_stop_ends_after_the_step_under_way() -> None:
    states: list[str] = []
    made = session(at={3: lambda it: (it.stop(), states.append(it.state))})
    made.start()
    assert [step.index for step in made.wait()] == [1, 2, 3]
    assert states == ["stopping"]
    assert (made.state, made.error) == ("stopped", None)


def test_stop_works_from_a_pause() -> None:
    made = paused_at(4)
    made.stop()
    assert len(made.wait()) == 4
    assert made.state == "stopped"


def test_a_pause_or_stop_at_the_last_step() -> None:
    made = paused_at(20)
    made.resume()
    assert len(made.wait()) == 20 and made.state == "done"
    stopped = session(at={20: TrainSession.stop})
    stopped.start()
    assert len(stopped.wait()) == 20 and stopped.state == "done"


def test_what_went_wrong_is_raised_by_every_wait() -> None:
    model = reader()
    model.each_loss = lambda loss, step: loss * math.nan if step == 3 else loss
    made = session(model)
    made.start()
    for _ in range(2):
        with pytest.raises(FloatingPointError, match="step 3") as raised:
            made.wait()
        assert raised.value is made.error
    assert (made.state, len(made.steps), made.seconds_left) == ("failed", 2, 0)
    assert not model.training


@pytest.mark.parametrize("error", [ZeroDivisionError("boom"), KeyboardInterrupt()])
def test_what_on_step_raises_comes_out_too(error: BaseException) -> None:
    def fail(_: TrainSession) -> None:
        raise error

    made = session(at={2: fail})
    made.start()
    with pytest.raises(type(error)):
        made.wait()
    assert (made.state, len(made.steps)) == ("failed", 2)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Python as a shell's foreground job starts it: one in the background is told to ignore interrupts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_ends_the_wait_and_not_the_training() -> None:
    go_on = threading.Event()
    main = threading.main_thread().ident
    made = session(at={2: lambda _: (signal.pthread_kill(main, signal.SIGINT), go_on.wait(250))})
    with pytest.raises(KeyboardInterrupt):
        made.start()  # the second step may come before the wait does
        made.wait()
    go_on.set()
    assert len(made.wait()) == 20


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends processes in other words")
def test_an_interrupted_script_ends_by_the_signal_and_says_in_its_last_line_what_was_left() -> None:
    # torch imports tabulate at the end, where it is installed, and Python then forgets that it was interrupted.
    code = (
        "import os, signal, sys, threading, traceback\n"
        "sys.modules['tabulate'] = None\n"
        "from glora_lab.training import TrainSession\n"
        "from tests.training.reader import brightest, reader\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def interrupt(step):\n"
        "    stack = traceback.extract_stack(sys._current_frames()[threading.main_thread().ident])\n"
        "    if not sent and '_wait' in [frame.name for frame in stack]:\n"
        "        sent.append(os.kill(os.getpid(), signal.SIGINT))\n"
        "sent = []\n"
        "session = TrainSession(reader(), brightest(), steps=10**9, lr=0.01, seed=0, on_step=interrupt)\n"
        "session.start()\n"
        "session.wait()\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=250)
    assert result.returncode == -signal.SIGINT
    assert "KeyboardInterrupt: the wait was interrupted, the session is running at" in result.stderr.splitlines()[-1]


def test_a_wait_that_would_never_end_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"wait\(\) needs a session that was started"):
        session().wait()
    made = paused_at(2)
    with pytest.raises(RuntimeError, match=r"paused: resume\(\) or stop\(\)"):
        made.wait()
    with pytest.raises(TimeoutError, match=r"after 0.01 s the session is paused at step 2"):
        made.wait(timeout=0.01)
    made.stop()
    assert len(made.wait(timeout=250)) == 2


def test_a_pause_during_a_wait_ends_it_in_words() -> None:
    made = session(at={3: TrainSession.pause})
    made.start()
    with pytest.raises(RuntimeError, match=r"paused: resume\(\) or stop\(\)"):
        made.wait()
    assert (made.state, len(made.steps)) == ("paused", 3)
    with pytest.raises(TimeoutError):  # a wait that ends anyhow may see it resumed
        made.wait(timeout=0.01)
    made.resume()
    assert len(made.wait()) == 20


def test_a_pause_by_another_thread_ends_the_wait_too() -> None:
    made = session(steps=10**6)
    made.start()
    presses = threading.Timer(0.05, made.pause)
    presses.start()
    with pytest.raises(RuntimeError, match=r"paused: resume\(\) or stop\(\)"):
        made.wait()
    made.stop()
    assert made.wait() and made.state == "stopped"


def test_a_pause_that_is_taken_back_in_time_ends_no_wait() -> None:
    made = session(at={3: lambda it: (it.pause(), it.resume())})
    made.start()
    assert len(made.wait()) == 20


def no_thread(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_without_a_thread_it_stays_ready_and_starts_later(monkeypatch: pytest.MonkeyPatch) -> None:
    made = session()
    with monkeypatch.context() as without, pytest.raises(RuntimeError, match=r"no thread is to be had.*can't start"):
        without.setattr(threading.Thread, "start", no_thread)
        made.start()
    assert (made.state, made.finished) == ("ready", False)
    with pytest.raises(RuntimeError, match="needs a session that was started"):
        made.wait()
    made.start()
    assert len(made.wait()) == 20


def test_python_ends_well_where_one_session_had_no_thread() -> None:
    code = (
        "import threading, time\n"
        "from glora_lab.training import TrainSession\n"
        "from tests.training.reader import brightest, reader\n"
        "from tests.training.test_session import no_thread\n"
        "good, bad = (TrainSession(reader(), brightest(), steps=10**9, lr=0.01, seed=0) for _ in range(2))\n"
        "good.start()\n"
        "while len(good.steps) < 50: time.sleep(0.01)\n"
        "threading.Thread.start = no_thread\n"
        "try: bad.start()\n"
        "except RuntimeError: print(bad.state)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=250)
    assert (result.returncode, result.stdout, result.stderr) == (0, "ready\n", "")


def test_a_session_starts_once() -> None:
    made = session()
    made.start()
    with pytest.raises(RuntimeError, match="starts only once"):
        made.start()
    made.wait()
    with pytest.raises(RuntimeError, match=r"is done and starts only once"):
        made.start()
    unstarted = session()
    unstarted.stop()
    with pytest.raises(RuntimeError, match=r"is stopped and starts only once"):
        unstarted.start()
    assert unstarted.wait() == ()


@pytest.mark.parametrize("action", ["pause", "resume"])
def test_pause_and_resume_need_a_start(action: str) -> None:
    with pytest.raises(RuntimeError, match=rf"{action}\(\) needs a session that was started"):
        getattr(session(), action)()


def test_saying_it_twice_changes_nothing() -> None:
    made = paused_at(5)
    made.pause()
    assert made.state == "paused"
    made.resume()
    made.resume()
    made.wait()
    for action in (made.pause, made.resume, made.stop):
        action()
        assert made.state == "done"


@given(st.lists(st.tuples(st.integers(1, 30), st.sampled_from(["pause", "resume", "stop"])), max_size=6))
def test_any_sequence_of_presses_ends_with_the_first_steps_in_order(presses: list[tuple[int, str]]) -> None:
    made = session(steps=30)
    made.start()
    for index, action in presses:
        if made.state == "running":
            until(lambda index=index: len(made.steps) >= index or made.state != "running")
        getattr(made, action)()
    made.resume()
    steps = made.wait(timeout=250)
    assert [step.index for step in steps] == list(range(1, len(steps) + 1))
    assert made.state == ("done" if len(steps) == 30 else "stopped")
    assert made.state == "done" or "stop" in [action for _, action in presses]


def test_the_time_left_is_the_mean_step_times_the_steps_to_come() -> None:
    made = session()
    assert math.isnan(made.seconds_left)
    made._steps.append(Step(4, 0.5, 0.5, seconds=2.0))
    assert made.seconds_left == pytest.approx(8.0)
    made.stop()
    assert made.seconds_left == 0


def test_the_model_rests_while_it_is_asked() -> None:
    model = reader()
    made = session(model, steps=10**6)
    made.start()
    until(lambda: len(made.steps) > 3)
    for _ in range(3):
        with made.between_steps():
            weight, count = model.out.weight.detach().clone(), len(made.steps)
            time.sleep(0.02)
            assert torch.equal(model.out.weight, weight)
            assert len(made.steps) <= count + 1  # the last step may be counted only now
        until(lambda count=count: len(made.steps) > count + 1)
    made.stop()
    made.wait()


def test_a_session_that_still_runs_does_not_keep_python_from_ending() -> None:
    code = (
        "import time\n"
        "from glora_lab.training import TrainSession\n"
        "from tests.training.reader import brightest, reader\n"
        "session = TrainSession(reader(), brightest(), steps=10**9, lr=0.01, seed=0)\n"
        "session.start()\n"
        "while len(session.steps) < 50: time.sleep(0.01)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=250)
    assert (result.returncode, result.stderr) == (0, "")
