"""Folders by name, and files that take their place together: old, new or refused, whatever fails on the way."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from glora_lab import folders
from glora_lab.folders import folder_named, replacing, unfinished

LAST = "config.json"
OLD = {"README.md": "old", "weights": "old", LAST: "old", "second/weights": "old", f"second/{LAST}": "old"}
NEW = dict.fromkeys(OLD, "new")
MINE = {"notes.txt": "mine", "second/notes.txt": "mine"}


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)


def read(folder: Path) -> dict[str, str]:
    names = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text() for path in names}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write(tmp_path, {**OLD, **MINE})
    return tmp_path


def save(place: Path, deciding: str | None = LAST, files: dict[str, str] = NEW) -> None:
    with replacing(place, deciding) as new:
        write(new, files)


@pytest.mark.parametrize("deciding", [LAST, None])
def test_new_files_take_the_place_of_old_ones_and_others_stay(place: Path, deciding: str | None) -> None:
    save(place, deciding, {**NEW, "third/weights": "new"})
    assert read(place) == {**MINE, **NEW, "third/weights": "new"}
    assert unfinished(place) == ""


def test_a_place_that_is_not_there_is_made_and_anybody_may_read_what_the_umask_allows(tmp_path: Path) -> None:
    save(tmp_path / "a" / "b")
    assert read(tmp_path / "a" / "b") == NEW
    (tmp_path / "plain").write_text("")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "a" / "b").rglob("*") if path.is_file()}
    assert modes == {stat.S_IMODE((tmp_path / "plain").stat().st_mode)}


def test_whatever_fails_the_old_files_stay(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block that raises, and each move in turn: a file that is open elsewhere cannot be replaced on Windows."""
    with pytest.raises(ZeroDivisionError), replacing(place, LAST) as new:
        write(new, NEW)
        raise ZeroDivisionError
    assert read(place) == {**OLD, **MINE}
    replace, failed = os.replace, 0
    for fails_at in range(100):
        left = [fails_at]

        def fail(before: Path, now: Path, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] == -1:
                raise PermissionError("open elsewhere")
            replace(before, now)

        monkeypatch.setattr(folders.os, "replace", fail)
        try:
            save(place)
        except PermissionError:
            failed += 1
            assert read(place) == {**OLD, **MINE}
        else:
            break
    assert failed == 2 * len(OLD) and read(place) == {**NEW, **MINE}


def test_at_no_moment_is_the_deciding_file_there_beside_others_of_another_time(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, seen = os.replace, []

    def look(before: Path, now: Path) -> None:
        seen.append(read_visible(place))
        replace(before, now)

    def read_visible(folder: Path) -> dict[str, str]:
        return {name: text for name, text in read(folder).items() if not name.startswith(".saving-")}

    monkeypatch.setattr(folders.os, "replace", look)
    save(place)
    assert len(seen) == 2 * len(OLD)
    for files in seen:
        for inside, names in {"": ["README.md", "weights"], "second/": ["weights"]}.items():
            if (decides := files.get(inside + LAST)) is not None:
                assert [files.get(inside + name) for name in names] == [decides] * len(names)


def test_a_file_by_itself_is_replaced_in_one_step(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, moved = os.replace, []
    monkeypatch.setattr(folders.os, "replace", lambda *paths: moved.append(paths) or replace(*paths))
    save(place, LAST, {LAST: "new"})
    assert [now for _, now in moved] == [place / LAST]


def test_a_folder_in_the_way_is_left(place: Path) -> None:
    (place / "weights").unlink()
    (place / "weights").mkdir()
    write(place, {"weights/mine": "mine"})
    with pytest.raises(IsADirectoryError):
        save(place)
    kept = {**OLD, **MINE, "weights/mine": "mine"}
    assert read(place) == {name: text for name, text in kept.items() if name != "weights"}


def test_what_a_killed_process_left_can_be_finished(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    replace = os.replace

    def killed(before: Path, now: Path) -> None:
        if now == place / "weights":
            monkeypatch.setattr(folders.os, "replace", killed_for_good)
            raise Killed
        replace(before, now)

    def killed_for_good(before: Path, now: Path) -> None:
        raise Killed  # nothing is put back

    monkeypatch.setattr(folders.os, "replace", killed)
    with pytest.raises(Killed):
        save(place)
    assert LAST not in read(place)
    says = unfinished(place)
    (whole,) = place.glob(".saving-*/whole")
    assert str(whole) in says and "interrupted" in says
    for path in sorted(path for path in whole.rglob("*") if path.is_file()):
        replace(path, place / path.relative_to(whole))
    assert unfinished(place) == ""
    assert {name: text for name, text in read(place).items() if not name.startswith(".saving-")} == {**MINE, **NEW}


def test_a_name_is_written_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("~/a", Path("~/a")):
        assert folder_named("path", name) == str(tmp_path / "a")
    for name in ("owner/name", "./a", str(tmp_path), "a/~"):
        assert folder_named("path", name) == name


@pytest.mark.parametrize(
    "name", ["", "~nobody_here/x", "n" * 300, "x/" * 5000, "\0", "\udc80\ud800", b"bytes", 3, None]
)
def test_what_names_no_folder_is_refused(name: object) -> None:
    with pytest.raises(ValueError, match=r"^`path` \(=.*\) must name a folder") as refused:
        folder_named("path", name)  # type: ignore[arg-type]
    assert len(str(refused.value)) < 250


def test_a_long_name_is_counted_as_it_was_typed() -> None:
    for name in ("n" * 300, Path("n" * 300)):
        with pytest.raises(ValueError, match=r", 300 characters\) must name a folder"):
            folder_named("path", name)
