"""`glora-lab open`: the course beside the reader, never over what the reader has changed."""

from __future__ import annotations

import sys
from errno import EACCES
from pathlib import Path

import pytest

from glora_lab import cli, folders
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


def test_half_a_copy_is_made_whole(tmp_path: Path) -> None:
    """Copies that were killed have left it: of a notebook any beginning, of a script one that ends inside a line."""
    halves = {path.name: path.read_bytes()[:-7] for path in COURSE} | {FIRST: b""}
    for name, half in halves.items():
        (tmp_path / name).write_bytes(half)
    copied = copy_course(tmp_path)
    assert set(copied.updated) == set(halves) and copied.left == ()
    assert {path.name: (tmp_path / path.name).read_bytes() for path in COURSE} == {
        p.name: p.read_bytes() for p in COURSE
    }


def test_a_script_that_a_reader_made_shorter_is_the_readers(tmp_path: Path) -> None:
    script = next(path for path in COURSE if path.suffix == ".py")
    (tmp_path / script.name).write_bytes(b"".join(script.read_bytes().splitlines(keepends=True)[:-3]))
    assert copy_course(tmp_path).left == (script.name,)


def test_a_copy_of_before_is_known_even_where_the_list_ran_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a killed update leaves it: the list names what was to come, and the file is still what it was."""
    package, here = tmp_path / "package", tmp_path / "here"
    (package / "notebooks").mkdir(parents=True)
    monkeypatch.setattr(course, "PACKAGE", package)
    for version in ("one", "two"):
        (package / "notebooks" / FIRST).write_text(version)
        copy_course(here)
    for before in ("one", "two"):
        (here / FIRST).write_text(before)
        (package / "notebooks" / FIRST).write_text(f"three after {before}")
        assert copy_course(here).updated == (FIRST,)
    (here / course.LIST).write_text(f'{{"{FIRST}": "{course._digest(b"one")}"}}')  # as earlier versions wrote it
    (here / FIRST).write_text("one")
    assert copy_course(here).updated == (FIRST,)


def test_nothing_is_written_where_all_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy_course(tmp_path)
    monkeypatch.setattr(course, "replacing", None)
    assert len(copy_course(tmp_path).same) == len(COURSE)


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
    (tmp_path / "notebooks").write_text("a file of that name")
    refused = {tmp_path / "file": "must be a folder", tmp_path: "must be a folder", "~nobody_here/x": "no such user"}
    for directory, says in {**refused, "n" * 300: "File name too long", "\0": "null"}.items():
        assert main(["open", str(directory), "--copy-only"]) == 2
        assert says in one_sentence(capsys)


def one_sentence(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("glora-lab open") and err.count("\n") == 1 and len(err) < 500
    return err


def test_a_folder_that_cannot_be_written_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(**_: object) -> None:
        raise PermissionError(EACCES, "Permission denied", str(tmp_path))

    monkeypatch.setattr(folders, "mkdtemp", refused)  # root may write everywhere
    assert main(["open", str(tmp_path), "--copy-only"]) == 1
    assert f"cannot copy into {tmp_path / 'notebooks'}: Permission denied" in one_sentence(capsys)
    (tmp_path / "file").write_text("")
    assert main(["open", str(tmp_path / "file" / "below"), "--copy-only"]) == 1
    assert "Not a directory" in one_sentence(capsys)
    monkeypatch.setattr(course, "PACKAGE", tmp_path / "empty")
    assert main(["open", str(tmp_path), "--copy-only"]) == 1
    assert "install glora-lab again" in one_sentence(capsys)


def test_a_home_is_a_folder_like_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["open", "~/course", "--copy-only"]) == 0
    assert (tmp_path / "course" / "notebooks" / FIRST).is_file()


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
