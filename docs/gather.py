"""Puts together what Sphinx makes the site of: `python -m docs.gather EXECUTED SOURCE`.

EXECUTED has the notebooks as the tests ran them, SOURCE becomes the folder that Sphinx is given. The pages of this
folder are copied; the lessons, the reference and the ledger of claims are written from notebooks, docstrings and cells.
With `--is-fresh EXECUTED` it only says whether these are the notebooks of today.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from docs import claims, exercises, lessons, reference
from tests.course.lessons import Lesson, course
from tests.source import ROOT

PAGES = Path(__file__).parent
STARTUP = "tests/strict_kernel/profile_default/startup"
SHOWN = (f"{STARTUP}/00_strict.py", f"{STARTUP}/01_offline.py")  # on a page
COPIED = ("CHANGELOG.md", "CONTRIBUTING.md")
ASKED = "--is-fresh"


def main(arguments: Sequence[str]) -> None:
    executed = Path(arguments[1] if arguments[0] == ASKED else arguments[0])
    old = [lesson.path.name for lesson in course() if not is_fresh(executed, lesson)]
    if old:
        raise SystemExit(f"{executed} lacks {', '.join(old)} as they are now: `make notebooks` runs them")
    if arguments[0] != ASKED:
        gather(executed, Path(arguments[1]))


def is_fresh(executed: Path, lesson: Lesson) -> bool:
    """Whether the notebook was run as it is now, cell by cell."""
    file = executed / lesson.path.name
    if not file.is_file():
        return False
    ran = json.loads(file.read_text(encoding="utf-8"))["cells"]
    return told(ran) == told(lesson.cells)


def told(cells: Sequence[dict[str, object]]) -> list[tuple[object, str]]:
    return [(cell["id"], "".join(cell["source"])) for cell in cells]  # type: ignore[arg-type]


def gather(executed: Path, source: Path) -> None:
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(PAGES, source, ignore=shutil.ignore_patterns("*.py", "__pycache__", "examples"))
    shutil.copy(PAGES / "conf.py", source)
    shutil.copy(ROOT / "CITATION.cff", source)
    for file in SHOWN:
        shutil.copy(ROOT / file, source / "how_to")
    for name in COPIED:
        (source / name.lower()).write_text(plain_links((ROOT / name).read_text(encoding="utf-8")), encoding="utf-8")
    lessons.write(executed, source / "lessons")
    claims.write(source / "claims.md")
    reference.write(source / "reference")
    exercises.write(source / "how_to")


def plain_links(text: str) -> str:
    """A page of the repository, with the site's names of pages."""
    return text.replace("](CHANGELOG.md)", "](changelog.md)").replace("](CONTRIBUTING.md)", "](contributing.md)")


if __name__ == "__main__":
    main(sys.argv[1:])
