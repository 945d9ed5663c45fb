"""The course that comes with the package, copied beside a reader and never over what the reader has changed.

It is the notebooks, and the script that one of them runs.

Beside the copies lies a list of what each was when it was copied. A file that is still that is the package's, and a
newer package brings it up to date; any other file is the reader's.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

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
    """Copy the course into a folder, made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    known = _read_list(folder / LIST)
    outcome: dict[str, list[str]] = {"added": [], "updated": [], "same": [], "left": []}
    for source in (path for path in sorted(course_folder().iterdir()) if path.suffix in KINDS):
        content, target = source.read_bytes(), folder / source.name
        there = target.read_bytes() if target.is_file() else None
        if there is None and not target.exists():
            kind = "added"
        elif there == content:
            kind = "same"
        elif there is not None and known.get(source.name) == _digest(there):
            kind = "updated"
        else:
            kind = "left"
        if kind in ("added", "updated"):
            target.write_bytes(content)
        if kind != "left":
            known[source.name] = _digest(content)
        outcome[kind].append(source.name)
    (folder / LIST).write_text(json.dumps(known, indent=1), encoding="utf-8")
    return Copied(**{kind: tuple(names) for kind, names in outcome.items()})


def _read_list(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
