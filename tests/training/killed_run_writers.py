"""Pairs of writers to one folder of runs, killed at a random moment: `python -m tests.training.killed_run_writers`.

Given a folder and a number of pairs; the ids of the runs that a writer had told of are printed. A process of its own,
for what is forked must have no threads.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import sys
import time
from pathlib import Path

from glora_lab.training.run_folder import RunFolder
from tests.training.test_run_folder import Adapter, a_run

PADDING = {"padding": "x" * 300_000}  # so that a line takes its time to be written


def write_for_ever(folder: Path, told: int) -> None:
    runs = RunFolder(folder)
    for n in itertools.count():
        run = a_run(f"{os.getpid()} {n}", settings=PADDING)
        runs.add(run, Adapter())
        os.write(told, f"{run.id}\n".encode())


def main(folder: Path, pairs: int) -> None:
    dice = random.Random(0)
    for _ in range(pairs):
        tells, told = os.pipe()
        writers = []
        for _ in range(2):
            if not (writer := os.fork()):
                write_for_ever(folder, told)
            writers.append(writer)
        os.close(told)
        first = os.read(tells, 10_000)
        time.sleep(dice.uniform(0, 0.1))
        for writer in writers:
            os.kill(writer, signal.SIGKILL)
            os.waitpid(writer, 0)
        with os.fdopen(tells, "rb") as rest:
            sys.stdout.write((first + rest.read()).decode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
