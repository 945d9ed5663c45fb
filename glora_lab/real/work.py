"""A job done, as the line that the journal keeps of it; and jobs done by several processes at a time.

The process that hands out the jobs writes the lines. Workers that find themselves without it end.
"""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from glora_lab.arguments import refuse

from .arms import SEARCHED
from .changes import measured_changes
from .journal import Journal
from .machine import machine
from .merging import measured_drift
from .queue import CHANGES, DRIFT, SEARCH, SEEDS, Job, still_wanted
from .run import STEPS, run
from .searching import found_config, searched
from .stored import once_of, runs_of, steps_of

Line = dict[str, Any]


def line_of(job: Job, lines: Sequence[Line], storage: Path, steps: int) -> Line:
    """Do the job; `lines` are those that there are, and `storage` keeps the trials of a search."""
    once: dict[str, Callable[[], Any]] = {
        SEARCH: lambda: searched(storage, steps),
        CHANGES: lambda: measured_changes(runs_of(lines), steps),
        DRIFT: lambda: measured_drift(runs_of(lines), steps),
    }
    made_on = {"steps": steps, "machine": machine()}
    if not job.is_run:
        return {"once": job.arm, "result": once[job.arm](), **made_on}
    found = found_config(once_of(lines)[SEARCH]["found"], job.budget) if job.arm == SEARCHED else None
    return {"run": asdict(run(job.arm, job.budget, job.lr, job.seed, found=found, steps=steps)), **made_on}


def wanted(lines: Sequence[Line], seeds: int = SEEDS) -> list[Job]:
    return list(still_wanted(runs_of(lines).runs, once_of(lines), seeds=seeds))


def work(
    journal: Journal,
    *,
    processes: int = 1,
    seeds: int = SEEDS,
    steps: int = STEPS,
    do: Callable[[Job, Sequence[Line], Path, int], Line] = line_of,
) -> Iterator[Line]:
    """Do what is still wanted, `processes` jobs at a time, and yield each line once the journal has it.

    Raises:
        ValueError: for other `steps` than the lines have that are there.
    """
    lines = list(journal)
    if lines and steps_of(lines) != steps:
        raise refuse("steps", steps, f"must be those of {journal.file}, {steps_of(lines)}, or the journal another one")
    storage = journal.file.with_suffix(".search.log")
    if processes == 1:
        prepared(None)
        while jobs := wanted(lines := list(journal), seeds):
            yield _kept(journal, do(jobs[0], lines, storage, steps))
        return
    running: dict[Future[Line], Job] = {}
    with ProcessPoolExecutor(processes, get_context("spawn"), prepared, (os.getpid(),)) as pool:
        try:
            while True:
                lines = list(journal)
                free = [job for job in wanted(lines, seeds) if job not in running.values()]
                for job in free[: processes - len(running)]:
                    running[pool.submit(do, job, lines, storage, steps)] = job
                if not running:
                    return
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    del running[future]
                    yield _kept(journal, future.result())
        except GeneratorExit:  # nobody asks for more: what is under way is kept, too
            for future in running:
                _kept(journal, future.result())
            raise


def prepared(parent: int | None) -> None:
    """One thread, no warnings of what is to come; a worker ends with the process that it works for."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", FutureWarning)
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _kept(journal: Journal, line: Line) -> Line:
    journal.add(line)
    return line
