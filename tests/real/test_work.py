"""The script's mechanics: a line for each job, none lost and none twice, whatever kills it, in one process or two."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from glora_lab.ideas.real.record import RealRun
from glora_lab.real import stored
from glora_lab.real.__main__ import main
from glora_lab.real.journal import Journal
from glora_lab.real.queue import SEARCH, Job, still_wanted
from glora_lab.real.stored import once_of, read_runs, runs_of
from glora_lab.real.work import line_of, wanted, work
from tests.real.stand_in import made_up
from tests.source import ROOT

WAIT = 300.0  # seconds: three interpreters import torch, on a machine that may be busy


def jobs_of(journal: Journal) -> list[Job]:
    runs = [RealRun(**line["run"]) for line in journal if "run" in line]
    return [Job(run.arm, run.budget, run.lr, run.seed) for run in runs] + [
        Job(line["once"]) for line in journal if "once" in line
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Journal:
    journal = Journal(tmp_path_factory.mktemp("real") / "journal.jsonl")
    assert len(list(work(journal, do=made_up))) == len(list(journal))
    return journal


def test_all_is_done_and_a_second_call_does_nothing(whole: Journal) -> None:
    assert wanted(list(whole)) == [] and list(work(whole, do=made_up)) == []
    assert len(jobs_of(whole)) == len(set(jobs_of(whole)))


@pytest.mark.parametrize("processes", [1, 2])
def test_killed_it_goes_on_and_does_the_same(tmp_path: Path, whole: Journal, processes: int) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    program = [sys.executable, "-m", "tests.real.stand_in", str(journal.file), str(processes)]
    with subprocess.Popen(program, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}) as run:
        try:
            assert within(WAIT, lambda: len(list(journal)) >= 20)
            workers = children(run.pid)
        finally:
            run.send_signal(signal.SIGKILL)
    assert len(workers) >= processes or processes == 1 or not Path("/proc").exists()
    assert within(WAIT, lambda: not any(map(lives, workers))), "a worker outlives the process that it works for"
    before = list(journal)
    with journal.file.open("a") as file:
        file.write('{"run": {"arm": "LoRA", "bud')  # killed in the midst of a line
    list(work(journal, do=made_up))
    assert list(journal)[: len(before)] == before and 20 <= len(before) < len(list(journal))
    assert len(jobs_of(journal)) == len(set(jobs_of(journal)))
    assert set(jobs_of(journal)) == set(jobs_of(whole))


def within(seconds: float, what: Callable[[], bool]) -> bool:
    until = time.monotonic() + seconds
    while not what():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def children(pid: int) -> list[int]:
    """Processes that are its own; none where the system does not say."""
    about = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in about.read_text().split()] if about.exists() else []


def lives(pid: int) -> bool:
    """Not so one that has ended and is asked after by nobody."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_line_is_whole_or_not_there(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "new" / "journal.jsonl")
    assert list(journal) == []
    journal.add({"a": 1, "b": float("nan")})
    with journal.file.open("a") as file:
        file.write('{"a": 2')
    assert list(journal) == [{"a": 1, "b": None}]
    journal.add({"a": 3})
    assert list(journal) == [{"a": 1, "b": None}, {"a": 3}]


def test_a_run_that_met_no_finite_number_is_kept_as_such(tmp_path: Path) -> None:
    journal, nan = Journal(tmp_path / "journal.jsonl"), float("nan")
    run = {**made_up(Job("LoRA", 8, 1e-3), [], tmp_path)["run"], "validation": nan, "test": nan}
    journal.add({"run": run, "steps": 100, "machine": {"device": "paper"}})
    (found,) = runs_of(journal).runs
    assert found.validation != found.validation and found.test != found.test
    assert Job("LoRA", 8, 1e-3) not in list(still_wanted(runs_of(journal).runs, []))


def test_what_is_made_once_is_made_from_what_there_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("glora_lab.real.work.searched", lambda storage, steps: {"of": steps, "in": storage.name})
    line = line_of(Job(SEARCH), [], tmp_path / "real.search.log", 7)
    assert line["once"] == SEARCH and line["result"] == {"of": 7, "in": "real.search.log"}
    assert {"device", "python", "torch", "peft", "transformers", "numpy", "glora_lab"} == set(line["machine"])


def test_the_script_says_what_it_does_and_stops_where_it_is_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("glora_lab.real.__main__.work", lambda journal, **given: work(journal, do=made_up, **given))
    file = tmp_path / "journal.jsonl"
    main(["--journal", str(file), "--runs", "2"])
    said = capsys.readouterr().out
    assert "0 lines in" in said and "linear probe, rate 0.01, seed 0" in said and "on paper" in said
    assert len(list(Journal(file))) == 2
    main(["--journal", str(file), "--seeds", "2"])
    said = capsys.readouterr().out
    assert "2 lines in" in said and "changes is made" in said and "GraLoRA k=4 at 8: a tie with LoRA at 8" in said
    with pytest.raises(
        ValueError, match=r"`steps` \(=7\) must be those of .*journal.jsonl, 100, or the journal another"
    ):
        main(["--journal", str(file), "--steps", "7"])
    with pytest.raises(ValueError, match=r"`j` \(=0\)"):
        main(["-j", "0"])


def test_what_is_stored_is_read_as_it_was(whole: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "FILES", {})
    (file,) = stored.store(whole, tmp_path)
    read = read_runs(json.loads(file.read_text()))
    runs = runs_of(whole)
    assert read.runs == runs.runs and read.made["machines"] == [{"device": "paper", "lines": len(list(whole))}]
    assert json.loads(json.dumps(runs.made)) == read.made
    assert set(once_of(whole)) == {"search", "changes", "drift"}
