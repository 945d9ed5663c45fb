"""The reference's examples: one for each public name, and each run as a doctest, as a reader would type it."""

from __future__ import annotations

import argparse
import doctest
import importlib
import io
import re
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from glora_lab.adapters.own import method
from glora_lab.cli import _parser
from glora_lab.page import panel as panels

FOLDER = Path(__file__).parents[1] / "docs" / "examples"
SECTION = re.compile(r"^## (\w+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"^```pycon\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DOORS = (
    "adapters",
    "models",
    "data",
    "training",
    "search",
    "measure",
    "figures",
    "records",
    "panels",
    "checks",
)
COMMANDS = "cli"


class Example(NamedTuple):
    """The example of one name: its Python, and the line of the file that this begins on."""

    name: str
    code: str
    line: int


def examples(door: str) -> list[Example]:
    """The examples of a file in their order; of one that has none, or several, the code is empty."""
    text = (FOLDER / f"{door}.md").read_text(encoding="utf-8")
    found = []
    for section in SECTION.finditer(text):
        blocks = list(CODE.finditer(section[2]))
        code, start = (blocks[0][1], section.start(2) + blocks[0].start(1)) if len(blocks) == 1 else ("", 0)
        found.append(Example(section[1], code, text.count("\n", 0, start)))
    return found


def failures(door: str, example: Example) -> str:
    """What doctest says of an example that is not as written; nothing of one that is."""
    file = str(FOLDER / f"{door}.md")
    test = doctest.DocTestParser().get_doctest(example.code, {"__name__": "__main__"}, example.name, file, example.line)
    said = io.StringIO()
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=said.write)
    return said.getvalue()


@pytest.fixture
def a_reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Somebody with an empty page, no panel open, no method defined, and random numbers that nobody has chosen."""
    monkeypatch.setattr(panels, "PANELS", weakref.WeakSet())
    monkeypatch.setattr(method, "DEFINED", {})
    np.random.seed(123)
    torch.manual_seed(123)
    yield
    for panel in list(panels.PANELS):
        panel.close()


@pytest.mark.parametrize("door", DOORS)
def test_every_public_name_has_an_example_in_the_order_of_the_list(door: str) -> None:
    names = importlib.import_module(f"glora_lab.{door}").__all__
    assert [example.name for example in examples(door)] == list(names)


def test_every_command_has_an_example() -> None:
    commands = next(action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction))
    assert [example.name for example in examples(COMMANDS)] == list(commands.choices)


@pytest.mark.parametrize("door", [*DOORS, COMMANDS])
def test_every_example_names_its_subject_and_shows_what_comes_of_it(door: str) -> None:
    for name, code, _ in examples(door):
        lines = doctest.DocTestParser().get_examples(code)
        assert any(re.search(rf"\b{name}\b", line.source + line.want) for line in lines), f"{name} is not named"
        assert any(line.want for line in lines), f"{name} shows nothing"
        assert not any(doctest.SKIP in line.options for line in lines), f"{name} is not run"


@pytest.mark.parametrize(
    ("door", "example"),
    [
        pytest.param(door, example, id=f"{door}-{example.name}")
        for door in (*DOORS, COMMANDS)
        for example in examples(door)
    ],
)
@pytest.mark.usefixtures("a_reader")
def test_an_example_runs_as_it_is_written(door: str, example: Example) -> None:
    assert failures(door, example) == ""


@pytest.mark.usefixtures("a_reader")
def test_an_example_that_is_wrong_is_reported_with_its_place() -> None:
    right = next(example for example in examples("data") if example.name == "decode")
    wrong = right._replace(code=right.code.replace("'GLoRA'", "'GraLoRA'"))
    raises = right._replace(code=right.code.replace("decode([", "decode([256, "))
    assert failures("data", right) == ""
    said = failures("data", wrong)
    assert (
        f'data.md", line {right.line + 2}, in decode' in said and "Expected:\n    'GraLoRA'\nGot:\n    'GLoRA'" in said
    )
    assert "must be numbers of bytes, integers from 0 to 255" in failures("data", raises)
