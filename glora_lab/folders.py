"""Folders by name, and files that take their place in them: what every door to the disk shares.

A reader types `~/adapters` wherever a folder is asked for, so all doors ask `folder_named`, which knows one rule.
All writers write through `replacing`. Several files cannot be replaced in one step, so one of them decides: without
its configuration PEFT, transformers and this library refuse a folder. It is taken away first and comes back last,
and a process that is killed at any moment leaves the old files, the new ones, or a folder that is refused by
readers that know nothing of this library too. (A folder exchanged for another by one system call would leave no
such gap, and would drop what somebody else writes into it meanwhile; nor has every system that call.)
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EISDIR
from pathlib import Path
from tempfile import mkdtemp

SAVING, WHOLE = ".saving-", "whole"
SHOWN = 80  # characters of a name that a message repeats


def folder_named(argument: str, name: str | os.PathLike[str]) -> str:
    """The folder that a reader names, `~` and `~user` at its start written out; a name on the hub stays as it is.

    Raises:
        ValueError: where it can name no folder here, or none that may be looked at; `argument` is named.
    """
    spelled = os.fspath(name) if isinstance(name, str | os.PathLike) else None
    if not isinstance(spelled, str) or not spelled:
        raise ValueError(f"`{argument}` (={_shown(name)}) must name a folder")
    folder = os.path.expanduser(spelled)
    if folder.startswith("~") and not os.path.exists(folder):
        raise ValueError(f"`{argument}` (={_shown(name)}) must name a folder, and there is no such user here")
    try:
        os.stat(folder)
    except (FileNotFoundError, NotADirectoryError):
        return folder  # whether it has to be there is the door's question
    except (OSError, ValueError) as error:  # too long, a null byte, no permission to look
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise ValueError(f"`{argument}` (={_shown(name)}) must name a folder that can be had here: {why}") from error
    return folder


@contextmanager
def replacing(folder: str | os.PathLike[str], deciding: str | None = None) -> Iterator[Path]:
    """A folder to write into; what stands in it at the end replaces the files of these names in `folder`.

    They wait in a folder of their own, whose name begins with `.saving-`; a killed process leaves it behind, and
    `unfinished` knows whether it is worth something. Where the block raises, or a file cannot take its place,
    `folder` keeps what it had.

    Args:
        deciding: the name of the file without which the others beside it are not read. None for files that mean
            something each by itself: they are replaced one by one, and none is ever missing.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    beside = Path(mkdtemp(prefix=SAVING, dir=target))
    moves: list[tuple[Path, Path]] = []
    try:
        new = beside / "new"
        new.mkdir()
        yield new
        new = new.rename(beside / WHOLE)
        for files in _by_folder(new):
            _take_places(files, new, beside / "old", target, deciding, moves)
    except BaseException:
        for before, now in reversed(moves):
            if os.path.lexists(now):
                os.replace(now, before)  # where this fails, both sets of files are still there
        shutil.rmtree(beside, ignore_errors=True)
        raise
    shutil.rmtree(beside, ignore_errors=True)


def unfinished(folder: str | os.PathLike[str]) -> str:
    """What a refusal can add where a process was killed while it put files into `folder`: what to do. "" elsewhere."""
    left: list[Path] = []
    with suppress(OSError):
        left = [new for new in Path(folder).glob(f"{SAVING}*/{WHOLE}") if _by_folder(new)]
        left.sort(key=lambda new: new.stat().st_mtime)
    if not left:
        return ""
    return f": saving was interrupted. Save it again, or move what is in {left[-1]} into {folder}, which finishes it"


def _by_folder(new: Path) -> list[list[Path]]:
    """The files in `new`, those of one folder together, relative to it."""
    found: dict[Path, list[Path]] = {}
    for path in sorted(new.rglob("*")):
        if path.is_file():
            found.setdefault(path.parent, []).append(path.relative_to(new))
    return list(found.values())


def _take_places(
    files: list[Path], new: Path, old: Path, target: Path, deciding: str | None, moves: list[tuple[Path, Path]]
) -> None:
    """Move one folder's files from `new` over those in `target`; each move that can be undone is noted in `moves`."""

    def move(file: Path, before: Path, now: Path) -> None:
        (now / file).parent.mkdir(parents=True, exist_ok=True)
        moves.append((before / file, now / file))
        os.replace(before / file, now / file)

    for file in files:
        if (target / file).is_dir():
            raise IsADirectoryError(EISDIR, os.strerror(EISDIR), str(target / file))
    last = [file for file in files if file.name == deciding and len(files) > 1]
    if not last:
        (target / files[0]).parent.mkdir(parents=True, exist_ok=True)
        for file in files:
            os.replace(new / file, target / file)  # one step for the file system: none is ever missing
        return
    order = [*(file for file in files if file not in last), *last]
    for file in reversed(order):
        if os.path.lexists(target / file):
            move(file, target, old)
    for file in order:
        move(file, new, target)


def _shown(name: object) -> str:
    spelled = os.fspath(name) if isinstance(name, os.PathLike) else name
    text, length = repr(spelled), len(spelled) if isinstance(spelled, str) else len(repr(spelled))
    return text if len(text) <= SHOWN else f"{text[: SHOWN // 2]}…{text[-SHOWN // 4 :]}, {length:,} characters"
