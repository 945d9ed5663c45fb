"""Writes what follows from something else: `make readme`.

From the repository's address in pyproject.toml: the first code cell of every notebook and the README's badges. From
the notebooks' first cells: the course table, in the README and in notebook 00. From their claims: the README's ledger.
A test holds all of it to what this would write.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomllib

from tests.course.lessons import ABOUT, Claim, Lesson, Second, course, text
from tests.source import ROOT

README = ROOT / "README.md"
FIRST = "00_start_here"
REAL = "12_a_real_model"  # the one lesson that asks for the weights of a real model
PICTURES = "tests/browser/pictures"


def main() -> None:
    for lesson in course():
        lesson.path.write_text(notebook(lesson), encoding="utf-8")
    README.write_text(readme(), encoding="utf-8")


def repository() -> str:
    """owner/name on GitHub."""
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
    return urls["Repository"].removeprefix("https://github.com/")


def first_cell(name: str = FIRST) -> str:
    """What a notebook's first code cell says: where glora_lab is there, it does nothing."""
    extras = "notebooks,real" if name == REAL else "notebooks"
    return f"""\
from importlib.util import find_spec

if find_spec("glora_lab") is None:  # in Colab, say: install what is missing, upgrade nothing
    %pip install --quiet "glora-lab[{extras}] @ git+https://github.com/{repository()}\""""


def notebook(lesson: Lesson) -> str:
    """The notebook's file with its first code cell, and in 00 the course table, as they should be."""
    whole = json.loads(lesson.path.read_text(encoding="utf-8"))
    cells = whole["cells"]
    at = next(index for index, cell in enumerate(cells) if cell["cell_type"] == "code")
    if "find_spec" not in text(cells[at]):
        cells.insert(at, {"cell_type": "code", "execution_count": None, "id": f"{lesson.number}-get", "metadata": {}})
    cells[at] |= {"outputs": [], "source": lines(first_cell(lesson.path.stem))}
    if lesson.path.stem == FIRST:
        (map_cell,) = (cell for cell in cells if "## Where to go from here" in text(cell))
        rest = [other for other in course() if other.path.stem != FIRST]
        map_cell["source"] = lines(
            re.sub(r"^\|[^Z]*\|$", course_table(rest, Path()), text(map_cell), flags=re.MULTILINE)
        )
    return json.dumps({**whole, "cells": [in_order(cell) for cell in cells]}, indent=1, ensure_ascii=False) + "\n"


def in_order(cell: dict[str, Any]) -> dict[str, Any]:
    return {name: cell[name] for name in sorted(cell)}


def lines(source: str) -> list[str]:
    return source.splitlines(keepends=True)


def readme() -> str:
    """The README with its generated parts, each between `<!-- NAME -->` and `<!-- /NAME -->`."""
    lessons = course()
    found = README.read_text(encoding="utf-8")
    parts = {
        "badges": badges(),
        "panels": panel_table(),
        "course": course_table(lessons, Path("notebooks")),
        "claims": ledger(
            [claim for lesson in lessons for claim in lesson.claims()],
            [second for lesson in lessons for second in lesson.second_verdicts()],
        ),
    }
    for name, part in parts.items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        assert found.count(begin) == found.count(end) == 1, f"README.md needs {begin} and {end}, once each"
        before, _, rest = found.partition(begin)
        found = f"{before}{begin}\n{part}\n{end}{rest.partition(end)[2]}"
    return found


def badges() -> str:
    page = f"notebooks/{FIRST}.ipynb"
    binder = f"https://mybinder.org/v2/gh/{repository()}/HEAD?urlpath=lab/tree/{page}"
    colab = f"https://colab.research.google.com/github/{repository()}/blob/HEAD/{page}"
    return (
        f"[![Open in Binder](https://mybinder.org/badge_logo.svg)]({binder})\n"
        f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab})"
    )


def panel_table() -> str:
    """A picture of each panel, and what its class says of itself."""
    from glora_lab import panels

    rows = []
    for name in panels.__all__:
        if name.endswith("Panel") and name != "Panel":
            says = getattr(panels, name).__doc__.splitlines()[0]
            rows.append(f"| `{name}` | {says} | ![{name}]({PICTURES}/{name}.png) |")
    return "\n".join(["| Panel | What it shows | |", "|---|---|---|", *rows])


def course_table(lessons: Sequence[Lesson], folder: Path) -> str:
    rows = [
        f"| [{lesson.number} {lesson.title}]({folder / lesson.path.name}) | {lesson.question} | {lesson.minutes} |"
        for lesson in lessons
    ]
    return "\n".join(["| Notebook | The question it answers | Minutes |", "|---|---|---|", *rows])


def ledger(claims: Sequence[Claim], seconds: Sequence[Second] = ()) -> str:
    """The claims as one table, by what they are about and then in the order of the course."""
    at_22m = {second.claim: second for second in seconds}
    rows = [
        f"| {about} | {c.claim} | {c.source} | {c.measured} | {c.verdict} | {link(c.lesson)} | {again(at_22m, c)} |"
        for about in ABOUT
        for c in claims
        if c.about == about
    ]
    head = "| About | Claim | Who says so | What we measured | Verdict | Shown in | At 22M |"
    return "\n".join([head, "|---|---|---|---|---|---|---|", *rows])


def again(at_22m: Mapping[str, Second], claim: Claim) -> str:
    """The second verdict on a claim, and what it was measured by; a dash where none was sought."""
    second = at_22m.get(claim.claim)
    return "–" if second is None else f"{second.verdict}: {second.measured}"


def link(lesson: Lesson) -> str:
    return f"[{lesson.number}](notebooks/{lesson.path.name})"


if __name__ == "__main__":
    main()
