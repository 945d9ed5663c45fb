"""`glora-lab open`: the course beside the reader, never over what the reader has changed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from glora_lab import cli
from glora_lab.cli import course, main
from glora_lab.cli.course import copy_course, course_folder
from tests.source import COURSE

FIRST = "00_start_here.ipynb"


def test_the_whole_course_is_copied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["open", str(tmp_path), "--copy-only"]) == 0
    copies = {path.name: path.read_bytes() for path in (tmp_path / "notebooks").glob("*.*[bpy]")}
    assert copies == {path.name: path.read_bytes() for path in COURSE}
    assert f"{len(COURSE)} files copied" in capsys.readouterr().out


def test_a_changed_notebook_is_left_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy_course(tmp_path / "notebooks")
    mine = tmp_path / "notebooks" / FIRST
    mine.write_text("my own")
    assert main(["open", str(tmp_path), "--copy-only"]) == 0
    assert mine.read_text() == "my own"
    out = capsys.readouterr().out
    assert f"{len(COURSE) - 1} there already" in out and f"copied before: {FIRST}." in out
    mine.unlink()
    assert copy_course(tmp_path / "notebooks").added == (FIRST,)


@pytest.mark.parametrize("in_the_way", ["file", "folder"])
def test_what_was_there_before_is_never_written_over(tmp_path: Path, in_the_way: str) -> None:
    mine = tmp_path / FIRST
    mine.mkdir() if in_the_way == "folder" else mine.write_text("older than the course")
    assert copy_course(tmp_path).left == (FIRST,)
    assert copy_course(tmp_path).left == (FIRST,)  # and the list does not take it for the package's own
    assert mine.is_dir() or mine.read_text() == "older than the course"


def test_a_newer_package_updates_what_nobody_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package, here = tmp_path / "package", tmp_path / "here"
    (package / "notebooks").mkdir(parents=True)
    monkeypatch.setattr(course, "PACKAGE", package)
    for version in ("one", "two"):
        for name in (FIRST, "01_five_paths.ipynb"):
            (package / "notebooks" / name).write_text(version)
        copied = copy_course(here)
        (here / FIRST).write_text("mine")
    assert (copied.updated, copied.left) == (("01_five_paths.ipynb",), (FIRST,))
    assert (here / FIRST).read_text() == "mine" and (here / "01_five_paths.ipynb").read_text() == "two"


def test_a_damaged_list_costs_no_work(tmp_path: Path) -> None:
    copy_course(tmp_path)
    (tmp_path / course.LIST).write_text("{")
    (tmp_path / FIRST).write_text("mine")
    assert copy_course(tmp_path).left == (FIRST,)


def test_a_package_without_notebooks_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(course, "PACKAGE", tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="install glora-lab again"):
        course_folder()


def test_jupyterlab_starts_on_the_first_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(cli.subprocess, "call", lambda command: started.append(command) or 7)
    assert main(["open", str(tmp_path), "--", "--no-browser", "--port", "8899"]) == 7  # JupyterLab's own exit code
    (command,) = started
    assert command[:3] == [sys.executable, "-m", "jupyterlab"]
    assert f"--ServerApp.root_dir={tmp_path}" in command
    assert f"--LabApp.default_url=/lab/tree/notebooks/{FIRST}" in command
    assert command[-3:] == ["--no-browser", "--port", "8899"]


def test_without_jupyterlab_it_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "_has_jupyterlab", lambda: False)
    assert main(["open", str(tmp_path)]) == 1
    assert 'pip install "glora-lab[lab]"' in capsys.readouterr().err
    assert (tmp_path / "notebooks" / FIRST).is_file()


def test_a_file_is_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["open", str(tmp_path / "file"), "--copy-only"]) == 2
    assert "must be a folder" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["open", "--help"], ["doctor", "--help"], ["--version"]])
def test_help_and_version(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    assert "glora-lab" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["dance"], ["open", "a", "b"]])
def test_a_wrong_command_is_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
