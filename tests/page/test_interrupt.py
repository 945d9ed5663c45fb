"""A cell that waits and is interrupted says so in one line, in a real kernel; training goes on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from jupyter_client import BlockingKernelClient
from jupyter_client.manager import KernelManager

pytestmark = [pytest.mark.timeout(120), pytest.mark.filterwarnings("ignore::DeprecationWarning")]

SETUP = """\
import os, signal, sys, threading, time, traceback, warnings
warnings.simplefilter("ignore")
import torch
from peft import LoraConfig
from glora_lab import TrainSession, load_model, load_task
from glora_lab.training import Race
from glora_lab.panels import TrainPanel
from peft import get_peft_model
torch.set_num_threads(1)
def model():
    return get_peft_model(load_model("digits-vit"), LoraConfig(r=2, target_modules=["q_proj"]))
OPTIONS = dict(steps=10**6, lr=1e-3, seed=0)
session = TrainSession(model(), load_task("digits-turned"), **OPTIONS)
race = Race({"a": model(), "b": model()}, load_task("digits-turned"), **OPTIONS)
lab = TrainPanel(steps=5000)
def interrupt_the_wait():
    while "_wait" not in [frame.name for frame in traceback.extract_stack(sys._current_frames()[main])]:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)  # as the page's button does
main = threading.main_thread().ident
"""
START = {"session": "session.start()", "race": "race.start()", "lab": "lab.train()"}


class Kernel:
    def __init__(self) -> None:
        self.manager = KernelManager()
        self.manager.start_kernel()
        self.client: BlockingKernelClient = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=250)

    def run(self, code: str, **expressions: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The reply to a cell, with the values of these expressions after it, and what it showed."""
        shown: list[dict[str, Any]] = []

        def hook(message: dict[str, Any]) -> None:
            shown.append({"type": message["msg_type"], **message["content"]})

        answer = self.client.execute_interactive(
            code, timeout=250, output_hook=hook, user_expressions=expressions, stop_on_error=False
        )  # or the cell after one that fails may be left out
        return answer["content"], shown

    def end(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    made = Kernel()
    yield made
    made.end()


def test_one_line_says_that_training_goes_on_and_how_to_end_it(kernel: Kernel) -> None:
    assert kernel.run(SETUP)[0]["status"] == "ok"
    for name, start in START.items():
        waits = f"{start}; threading.Thread(target=interrupt_the_wait).start(); {name}.wait()"
        reply, shown = kernel.run(waits)
        (error,) = [message for message in shown if message["type"] == "error"]
        assert reply["status"] == "error" and error["ename"] == "KeyboardInterrupt"
        (line,) = error["traceback"]
        assert "the wait was interrupted, the session is running at step" in line and "stop() it" in line
        assert "\n" not in line and len(line) < 250
        now = f"{name}.under_way if {name} is lab else {name}.state"
        told = kernel.run(f"seen = {now}; {name}.stop()", seen="seen")[0]["user_expressions"]["seen"]["data"]
        assert told["text/plain"] == ("True" if name == "lab" else "'running'")
