"""The course that comes with the package, copied beside a reader and never over what the reader has changed.

It is the notebooks, and the script that one of them runs.

Beside the copies lies a list of what each has been as a copy. A file that is one of these is the package's, and a
newer package brings it up to date; any other file is the reader's. The list is written first and each file takes its
place in one step, so that a process that is killed on the way leaves nothing that would be taken for a reader's work.
Half a file, which copies that were killed have left before, is the package's too: nothing is in it that is not in the
whole.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from glora_lab.folders import replacing

PACKAGE = Path(__file__).parents[1]
FOLDER, FIRST = "notebooks", "00_start_here.ipynb"
LIST = ".glora-lab.json"
KINDS = (".ipynb", ".py")  # notebook 09 runs a script in two processes


@dataclass(frozen=True)
class Copied:
    """Names of the files that were copied anew, brought up to date, found as they are, and left to the reader."""

    added: tuple[str, ...]
    updated: tuple[str, ...]
    same: tuple[str, ...]
    left: tuple[str, ...]

    def in_words(self, folder: Path) -> str:
        parts = [
            (self.added, "{} files copied"),
            (self.updated, "{} brought up to date"),
            (self.same, "{} there already"),
        ]
        counts = ", ".join(text.format(len(names)) for names, text in parts if names)
        lines = [f"{folder}: {counts or 'nothing copied'}."]
        if self.left:
            lines.append("Left as they are, since they are not what was copied before: " + ", ".join(self.left) + ".")
            lines.append("(For a fresh one, rename yours and open again.)")
        return "\n".join(lines)


def course_folder() -> Path:
    """Where the notebooks are: in the installed package, or beside it in a clone.

    Raises:
        FileNotFoundError: where neither has them.
    """
    for folder in (PACKAGE / FOLDER, PACKAGE.parent / FOLDER):
        if (folder / FIRST).is_file():
            return folder
    raise FileNotFoundError(f"the notebooks are neither in {PACKAGE} nor beside it: install glora-lab again")


def copy_course(folder: Path) -> Copied:
    """Copy the course into a folder, made where it is missing.

    Raises:
        FileNotFoundError: where the package has no notebooks.
        OSError: where they cannot be written there.
    """
    course = {path.name: path.read_bytes() for path in _files(course_folder())}
    folder.mkdir(parents=True, exist_ok=True)
    known = _read_list(folder / LIST)
    kinds = {name: _kind(folder / name, content, known.get(name, [])) for name, content in course.items()}
    for name, kind in kinds.items():
        if kind != "left" and _digest(course[name]) not in known.get(name, []):
            known[name] = [*known.get(name, []), _digest(course[name])]
    _write(folder, {LIST: json.dumps(known, indent=1).encode()})
    _write(folder, {name: content for name, content in course.items() if kinds[name] in ("added", "updated")})
    return Copied(
        **{kind: tuple(n for n in kinds if kinds[n] == kind) for kind in ("added", "updated", "same", "left")}
    )


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if path.suffix in KINDS)


def _kind(target: Path, content: bytes, known: list[str]) -> str:
    """What becomes of a file of which `content` would be the copy, and `known` are the copies of before."""
    there = target.read_bytes() if target.is_file() else None
    if there is None:
        return "left" if os.path.lexists(target) else "added"
    if there == content:
        return "same"
    return "updated" if _digest(there) in known or _is_half(there, content, target.suffix) else "left"


def _is_half(there: bytes, content: bytes, kind: str) -> bool:
    """Whether this is what a killed copy left of `content`. A notebook that breaks off is nobody's work; a script may
    end early because a reader wants it to, and then it ends with a line."""
    return content.startswith(there) and not (kind == ".py" and there.endswith(b"\n"))


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    if any(not (folder / name).is_file() or (folder / name).read_bytes() != files[name] for name in files):
        with replacing(folder) as new:
            for name, content in files.items():
                (new / name).write_bytes(content)


def _read_list(path: Path) -> dict[str, list[str]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    known = found.items() if isinstance(found, dict) else ()
    # earlier versions knew one copy of each
    return {name: [one] if isinstance(one, str) else one for name, one in known if isinstance(one, str | list)}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
