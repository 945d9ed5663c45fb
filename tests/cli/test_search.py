"""`glora-lab search`: workers that share a study, from the line to the front, and an end by Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from glora_lab import follow_study
from glora_lab.cli import main
from glora_lab.cli.search import _limit
from tests.source import ROOT

COMMAND = [sys.executable, "-c", "import sys; from glora_lab.cli import main; sys.exit(main())", "search", "digits-vit"]
HOW = ["--task", "digits-turned", "--method", "lora", "--ranks", "1,2", "--engine", "short", "--gate", "0"]


def hears_ctrl_c() -> None:
    """Whoever runs the tests in the background, where a shell has it ignored, hands that on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(*arguments: str) -> subprocess.Popen[str]:
    """In a group of its own, as a terminal has it: Ctrl-C goes to all of it."""
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    how["preexec_fn"] = hears_ctrl_c
    return subprocess.Popen([*COMMAND, *HOW, *arguments], cwd=ROOT, **how)  # type: ignore[call-overload, no-any-return]


def test_two_workers_and_the_same_line_again(tmp_path: Path) -> None:
    journal = tmp_path / "search.journal"
    line = ["--steps", "2", "--trials", "6", "--storage", str(journal), "--workers", "2"]
    process = start(*line, "--limit", "3_000")
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0 and err == ""
    study = follow_study(journal)
    assert len(study.trials) == 6 and study._stored.begun - len(study.trials) <= 2 and study.limit == 3000
    assert f"{journal}: 0 of 6 trials; 2 workers start" in out and "\n6 of 6 trials.\n" in out
    assert [line.split()[0] for line in out.splitlines()[-len(study.front) :]] == [f"{t.params:,}" for t in study.front]
    process = start(*line, "--limit", "3_000", "--ranks", "1,4")
    _, err = process.communicate(timeout=600)
    assert process.returncode == 2 and "that differs in space (" in err and "Traceback" not in err


def test_ctrl_c_ends_cleanly_and_gives_back_what_is_tried(tmp_path: Path) -> None:
    journal = tmp_path / "search.journal"
    process = start("--steps", "30", "--trials", "500", "--storage", str(journal), "--workers", "2")
    until = time.monotonic() + 600
    while time.monotonic() < until and process.poll() is None:
        time.sleep(0.5)
        if journal.exists() and journal.read_text().count('"result"') >= 2:
            break
    os.killpg(process.pid, signal.SIGINT)
    try:
        out, err = process.communicate(timeout=120)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130
    assert err == "glora-lab search: ended; the same line goes on with it\n" and "of 500 trials." in out
    study = follow_study(journal)
    assert len(study.trials) >= 2 and study.running == 0


def test_what_cannot_work_is_refused_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    storage = ["--storage", str(tmp_path / "search.journal")]
    for arguments, says in (
        (["nowhere", *HOW, *storage], "`name_or_path` (='nowhere')"),
        (["digits-vit", *HOW, *storage, "--task", "nothing"], "`name` (='nothing') must be a task"),
        (["digits-vit", *HOW, *storage, "--limit", "5"], "`limit` (=5) must be at least"),
        (["digits-vit", *HOW, *storage, "--workers", "0"], "`--workers` (=0)"),
        (["digits-vit", *HOW, "--storage", "redis://u:secret@host"], "must be a file, or a URL of postgresql"),
    ):
        assert main(["search", *arguments]) == 2
        err = capsys.readouterr().err
        assert says in err and err.count("\n") == 1 and "secret" not in err
    assert list(tmp_path.iterdir()) == []


def test_a_url_is_read_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setenv("GLORA_LAB_STORAGE", "redis://u:secret@host")
    assert main(["search", "digits-vit", *HOW]) == 2
    assert "`storage` (='redis://…')" in capsys.readouterr().err


def test_limits_are_read() -> None:
    assert _limit("20_000") == 20_000 and _limit("flops=5,saved_bytes=1_0") == {"flops": 5, "saved_bytes": 10}
