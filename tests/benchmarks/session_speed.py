"""How much of the bare loop's speed a TrainSession keeps: `python tests/benchmarks/session_speed.py`.

Three ways to train the same adapter, taken in turns so that a busy machine slows all of them, compared by
the median of the rounds: the bare loop, a session with an idle main thread (a notebook's kernel), and a
session whose main thread polls it ten times a second as a panel does.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from glora_lab.data import load_task
from glora_lab.models import load_model
from glora_lab.training import TrainSession, fit

TASK = load_task("digits-turned")


def adapted() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return get_peft_model(load_model("digits-vit"), LoraConfig(r=4, lora_alpha=4, target_modules="all-linear"))


def bare(steps: int) -> None:
    for _ in fit(adapted_model, TASK, steps=steps, lr=1e-2, seed=0):
        pass


def idle(steps: int) -> None:
    session = TrainSession(adapted_model, TASK, steps=steps, lr=1e-2, seed=0)
    session.start()
    session.wait()


def polled(steps: int) -> None:
    session = TrainSession(adapted_model, TASK, steps=steps, lr=1e-2, seed=0)
    session.start()
    while not session.finished:
        with contextlib.suppress(TimeoutError):  # so the end is seen at once, as the bare loop's is
            session.wait(0.1)
        json.dumps([session.state, session.seconds_left, [row for step in session.steps for row in step.to_dicts()]])


def speed(way: Callable[[int], None], steps: int) -> float:
    start = time.perf_counter()
    way(steps)
    return steps / (time.perf_counter() - start)


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=100)
parser.add_argument("--rounds", type=int, default=15)
arguments = parser.parse_args()

torch.set_num_threads(1)
adapted_model = adapted()
bare(arguments.steps)  # the first run pays for first times
speeds: dict[str, list[float]] = {way.__name__: [] for way in (bare, idle, polled)}
for turn in range(arguments.rounds):
    ways = (bare, idle, polled)
    for way in ways[turn % 3 :] + ways[: turn % 3]:
        speeds[way.__name__].append(speed(way, arguments.steps))
for name, measured in speeds.items():
    ratio = statistics.median(here / there for here, there in zip(measured, speeds["bare"], strict=True))
    print(f"{name:7} {statistics.median(measured):6.1f} steps/s, {ratio:6.1%} of the bare loop's")
