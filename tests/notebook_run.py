"""A pytest plugin beside nbmake: what a notebook weighs when it is saved after running, and the memory it took.

Binder gives 2 GB, and a saved notebook has to stay something that one mails. Both are measured for every notebook,
printed at the end, and held. The size counts the state of the widgets, which not every page saves.

What ran is kept in the folder that EXECUTED names, where it is set: the site is made from it, so nothing runs twice.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Generator
from pathlib import Path

import nbformat
import psutil
import pytest
from nbmake.nb_run import NotebookRun

os.environ["GLORA_LAB_RUNS"] = "off"  # the kernels' too: a notebook that is tested leaves nothing beside itself
MB, GB = 10**6, 10**9
LARGEST, MOST_MEMORY = 2 * MB, 2 * GB
BETWEEN_LOOKS = 0.5  # seconds
LONGEST = ("03_train_live", "09_your_model", "07_when_rank_helps", "11_your_own_method", "06_gradient_entanglement")

sizes: dict[Path, int] = {}
_execute = NotebookRun.execute


def _execute_and_weigh(run: NotebookRun) -> object:
    outcome = _execute(run)
    written = nbformat.writes(outcome.nb)
    sizes[Path(run.filename)] = len(written.encode())
    kept = os.environ.get("EXECUTED")
    if kept and outcome.error is None:
        Path(kept).mkdir(parents=True, exist_ok=True)
        (Path(kept) / Path(run.filename).name).write_text(written, encoding="utf-8")
    return outcome


NotebookRun.execute = _execute_and_weigh


class Memory:
    """The most that this process's children have had at once, kernels and what they start, within the `with`."""

    def __enter__(self) -> Memory:
        self.peak = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(BETWEEN_LOOKS):
            self.peak = max(self.peak, sum(map(_resident, psutil.Process().children(recursive=True))))


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:  # it has ended meanwhile
        return 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that two processes end together."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    with Memory() as memory:
        yield
    size = sizes[item.path]
    item.user_properties.append(("notebook", (item.path.name, size, memory.peak)))
    assert size < LARGEST, f"{item.path.name} is {size / MB:.1f} MB when it is saved after running"
    assert memory.peak < MOST_MEMORY, f"{item.path.name} took {memory.peak / GB:.2f} GB"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    measured = sorted(value for report in reports for name, value in report.user_properties if name == "notebook")
    if measured:
        terminalreporter.section("saved after running, and memory at most")
    for name, size, memory in measured:
        terminalreporter.line(f"{name:34} {size / MB:5.2f} MB   {memory / GB:5.2f} GB")
