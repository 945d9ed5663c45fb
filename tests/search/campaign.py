"""Workers that are killed at random moments, and what the study has at the end.

They are forked from a process that has imported everything, because one that has not takes seconds to be killed.
`python -m tests.search.campaign --kills 200 --storage FILE-or-URL` is a longer one.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import signal
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glora_lab import follow_study
from glora_lab.search.known import SETTING
from tests.search.fake_search import Counting, counted

WORKERS = 4
SLACK = 5.0  # seconds that a machine which has other things to do may be late
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.search.warmed_up"])


@dataclass
class Campaign:
    """`seen` are the finished trials as they were seen between the kills: number → choice and score; `killed` maps a
    process to when it was; `begun` are the choices that somebody began to score."""

    trials: int
    grace: float
    seen: dict[int, tuple[str, float]] = field(default_factory=dict)
    killed: dict[int, float] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)
    stored: tuple[Any, ...] = ()
    study: Any = None

    def lost(self) -> list[Any]:
        """The trials whose worker was killed, each with when that was."""
        own = [(trial, process_of(trial)) for trial in self.stored]
        return [(trial, self.killed[pid]) for trial, pid in own if trial.state.name == "FAIL" and pid in self.killed]


def work(storage: str, options: dict[str, Any], seconds: float, notes: str) -> None:
    Counting.seconds, Counting.notes = seconds, notes
    for _ in counted(storage, **options):
        pass


def process_of(trial: Any) -> int:
    return int(trial.user_attrs[SETTING]["worker"].split()[1])


def run(storage: str, *, kills: int, trials: int, grace: float, seconds: float, seed: int = 0) -> Campaign:
    """`kills` times one of four workers is killed and another one started; then they work to the end."""
    with tempfile.TemporaryDirectory() as folder:
        return _run(storage, Path(folder, "begun"), kills, trials, grace, seconds, seed)


def _run(storage: str, notes: Path, kills: int, trials: int, grace: float, seconds: float, seed: int) -> Campaign:
    draw, made = random.Random(seed), Campaign(trials, grace)
    options = {"trials": trials, "grace": grace}
    study = counted(storage, **options)  # made before the first of them

    def started() -> Any:
        process = FORKS.Process(target=work, args=(storage, options, seconds, str(notes)), daemon=True)
        process.start()
        return process

    workers = [started() for _ in range(WORKERS)]
    while len(made.killed) < kills:
        time.sleep(draw.uniform(0, 2 * seconds))
        study.refresh()
        made.seen |= {trial.number: (trial.choice, trial.metric) for trial in study.trials}
        place = draw.randrange(WORKERS)
        if workers[place].is_alive():
            os.kill(workers[place].pid, signal.SIGKILL)
            made.killed[workers[place].pid] = time.time()
        workers[place].join()
        workers[place] = started()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    made.begun = set(notes.read_text(encoding="utf-8").split())
    made.study = follow_study(storage)
    made.stored = tuple(made.study._stored._known._trials)
    return made


def check(campaign: Campaign, *, timely: bool = True) -> str:
    """That nothing was lost and nothing counted twice, and what there is to say of it.

    `timely`: and that what was lost was begun again in time. Who is killed knows no longer whom it has watched, so this
    holds where some workers live for longer than the grace time, and not on a machine on which all take seconds.
    """
    trials = campaign.study.trials
    found = {trial.number: (trial.choice, trial.metric) for trial in trials}
    assert campaign.seen.items() <= found.items(), "a finished trial is lost"
    assert len({trial.choice for trial in trials}) == len(trials), "a choice is counted twice"
    assert campaign.trials <= len(trials) <= campaign.trials + WORKERS - 1, f"{len(trials)} trials"
    assert not campaign.study.running
    late = []
    for lost, when in campaign.lost():
        choice = lost.user_attrs[SETTING]["choice"]
        same = [trial for trial in campaign.stored if trial.user_attrs[SETTING]["choice"] == choice]
        if choice not in campaign.begun:  # killed between its claim and finding that it had come in vain
            continue
        assert any(trial.state.name == "COMPLETE" for trial in same), f"{choice} was killed and never finished"
        if all(trial.state.name == "FAIL" or trial.number > lost.number for trial in same):  # it had the choice
            late.append(min(t.datetime_start.timestamp() for t in same if t.number > lost.number) - when)
    longest, doubles = max(trial.seconds for trial in trials), len(campaign.stored) - len(trials) - len(late)
    assert not timely or max(late, default=0) < campaign.grace + longest + SLACK
    return (
        f"{len(campaign.killed)} kills, {len(trials)} of {campaign.trials} trials, {len(late)} lost to a kill, tried "
        f"again after {max(late, default=0):.1f} s at most (grace {campaign.grace:g} s, a trial {longest:.1f} s), "
        f"{doubles} withdrawn"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--storage", required=True)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--grace", type=float, default=2.0)
    parser.add_argument("--seconds", type=float, default=0.1)
    asked = vars(parser.parse_args())
    print(check(run(asked.pop("storage"), **asked)))
