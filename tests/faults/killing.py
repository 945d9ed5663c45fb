"""A writer that is killed at every step it takes on the disk, within the files that it writes, and at random moments.

Each attempt is a forked process over a fresh copy of the folder as it was before. It kills itself before the n-th
operation that changes the disk, for every n until it comes through; or is killed by the system in mid-write, at a
size that no file may exceed; or by us, after a random time.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Write = Callable[[Path], object]
STEPS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.truncate"}  # and opening for writing


def killed_at_every_step(write: Write, before: Path | None, place: Path, stride: int = 1) -> Iterator[str]:
    """Where the writer was killed, each time `place` shows what that left; `before` is what it found there."""
    for step in range(1, 10_000, stride):
        if not _attempt(write, before, place, prepare=lambda step=step: _die_at(step)):
            return
        yield f"before operation {step}"


def killed_in_mid_write(write: Write, before: Path | None, place: Path, sizes: set[int]) -> Iterator[str]:
    """The same at each size of a file that the system forbids to exceed."""
    for size in sorted(sizes):
        if _attempt(write, before, place, prepare=lambda size=size: _die_beyond(size)):
            yield f"within a file, after {size} bytes"


def killed_at_random(write: Write, before: Path | None, place: Path, times: int, seed: int = 0) -> Iterator[str]:
    """The same after a random time, `times` kills."""
    dice, began = random.Random(seed), time.monotonic()
    _attempt(write, before, place)
    takes, done = time.monotonic() - began, 0
    for _ in range(100 * times):
        after = dice.uniform(0, takes)
        if _attempt(write, before, place, then=lambda child, after=after: _kill(child, after)):
            done += 1
            yield f"after {1000 * after:.1f} ms"
        else:
            takes *= 0.9  # the first one was slow
        if done == times:
            return
    raise AssertionError(f"the writer came through {100 * times - done} times")


def _attempt(
    write: Write,
    before: Path | None,
    place: Path,
    prepare: Callable[[], object] = lambda: None,
    then: Callable[[int], object] = lambda child: None,
) -> bool:
    """Whether it was killed; one that ends in another way than being killed or writing everything is an error."""
    shutil.rmtree(place, ignore_errors=True)
    if before is not None:
        shutil.copytree(before, place)
    child = os.fork()
    if not child:
        try:
            prepare()
            write(place)
            os._exit(0)
        finally:
            os._exit(1)
    then(child)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert ended in (0, -signal.SIGKILL, -signal.SIGXFSZ), f"the writer ended with {ended}"
    return ended != 0


def _die_at(step: int) -> None:
    left = step

    def count(event: str, about: tuple[Any, ...]) -> None:
        nonlocal left
        if event in STEPS or (event == "open" and about[2] & (os.O_WRONLY | os.O_RDWR)):
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def _die_beyond(size: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def _kill(child: int, after: float) -> None:
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
