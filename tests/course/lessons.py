"""What each notebook says of itself in its first cell, and the claims that its assertions stand for.

A lesson opens with a title, what the reader can do afterwards, the minutes it takes, and its question in italics. A
cell that settles a claim carries it in its metadata, under `claim` (one, or a list of them):

    {"about": "GraLoRA", "claim": "…", "source": "…", "measured": "…", "verdict": "holds"}

A cell that tries a claim of another lesson on the real model carries a second verdict, under `at_22m`:

    {"claim": "…", "measured": "…", "verdict": "holds partly"}

A cell whose picture answers the lesson's question says under `answers` what is to be seen there, in words that can
follow "in a picture below:":

    "LoRA's two factors cut into k×k pairs, and the rank of ΔW over k"

JupyterLab shows and edits all three in the property inspector. The ledger in the README is made of the first two and
nothing else.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.source import NOTEBOOKS, cell_tree

TITLE = re.compile(r"\A# (.+)\n")
ABILITY = re.compile(r"^\*\*After this notebook\*\* you (.+?) \*\*About (\d+) minutes\.\*\*$", re.MULTILINE)
QUESTION = re.compile(r"^\*([^*\n]+\?)\*$", re.MULTILINE)
TO_TRY = re.compile(r"^## To try\n\n1\. .+\n2\. .+", re.MULTILINE)

ABOUT = ("GLoRA", "GraLoRA", "LoRA", "PEFT")
VERDICTS = ("holds", "holds partly", "does not hold here")
FIELDS = ("about", "claim", "source", "measured", "verdict")
SECOND_FIELDS = ("claim", "measured", "verdict")


@dataclass(frozen=True)
class Claim:
    """A sentence that somebody says, who says it, what we measured, and the verdict, with the notebook and cell."""

    about: str
    claim: str
    source: str
    measured: str
    verdict: str
    lesson: Lesson
    cell: str  # its id


@dataclass(frozen=True)
class Second:
    """What became of another lesson's claim on a model of 22 million parameters, with the notebook and cell."""

    claim: str
    measured: str
    verdict: str
    lesson: Lesson
    cell: str  # its id


@dataclass(frozen=True)
class Lesson:
    path: Path

    @cached_property
    def cells(self) -> list[dict[str, Any]]:
        return json.loads(self.path.read_text(encoding="utf-8"))["cells"]

    @property
    def opening(self) -> str:
        return text(self.cells[0])

    @property
    def number(self) -> str:
        return self.path.stem[:2]

    @property
    def title(self) -> str:
        return found(TITLE, self.opening, self.path, "a title")[1]

    @property
    def minutes(self) -> int:
        return int(found(ABILITY, self.opening, self.path, "'**After this notebook** you …. **About N minutes.**'")[2])

    @property
    def question(self) -> str:
        return found(QUESTION, self.opening, self.path, "its question in italics, on a line of its own")[1]

    @property
    def last_words(self) -> str:
        return text([cell for cell in self.cells if cell["cell_type"] == "markdown"][-1])

    def answers(self) -> dict[str, str]:
        """Of the cells whose pictures answer the question: id → what is to be seen there."""
        return {cell["id"]: cell["metadata"]["answers"] for cell in self.cells if "answers" in cell["metadata"]}

    def claims(self) -> Iterator[Claim]:
        for cell, claim in self._noted("claim", FIELDS):
            assert claim["about"] in ABOUT, f"{self.path.name}, {cell}: one of {ABOUT}"
            yield Claim(**claim, lesson=self, cell=cell)

    def second_verdicts(self) -> Iterator[Second]:
        for cell, second in self._noted("at_22m", SECOND_FIELDS):
            yield Second(**second, lesson=self, cell=cell)

    def _noted(self, key: str, fields: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
        """(cell's id, what its metadata says under `key`), one or many a cell."""
        for cell in self.cells:
            noted = cell["metadata"].get(key, [])
            for said in [noted] if isinstance(noted, dict) else noted:
                assert sorted(said) == sorted(fields), f"{self.path.name}, {cell['id']}: {key} has {fields}"
                assert said["verdict"] in VERDICTS, f"{self.path.name}, {cell['id']}: one of {VERDICTS}"
                yield cell["id"], said


def course() -> list[Lesson]:
    return [Lesson(path) for path in NOTEBOOKS]


def text(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def found(pattern: re.Pattern[str], where: str, path: Path, what: str) -> re.Match[str]:
    match = pattern.search(where)
    assert match, f"{path.name}: the first cell lacks {what}"
    return match


def asserts_something(cell: dict[str, Any]) -> bool:
    return cell["cell_type"] == "code" and any(isinstance(node, ast.Assert) for node in ast.walk(cell_tree(cell)))
