"""An idea is one folder: added to a copy of the package it works from measure to panel, taken away it leaves no hole.

What else changes are lists of public names: the doors, and the package's own.
"""

from __future__ import annotations

import ast
import difflib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.source import PACKAGE, ROOT

DOORS = ("records", "measure", "figures", "panels")
LISTS = ("__init__.py", *(f"{door}/__init__.py" for door in DOORS))
ON_THEIR_OWN = ("descent", "xray")  # no other idea, no exercise and no search needs these

IDEA = {
    "__init__": '"""How heavy the frozen weights are."""\n',
    "record": '''
"""The norm of every linear layer's weight."""

from __future__ import annotations

from dataclasses import dataclass

from glora_lab.record import Record


@dataclass(frozen=True, eq=False)
class Weighing(Record):
    """Layer name → the Frobenius norm of W0."""

    norms: dict[str, float]
''',
    "measure": '''
"""The norm of every linear layer's weight."""

from __future__ import annotations

from torch import nn

from .record import Weighing


def weighing(model: nn.Module) -> Weighing:
    """W0's Frobenius norm, for each linear layer."""
    layers = ((name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear))
    return Weighing({name: layer.weight.detach().norm().item() for name, layer in layers})
''',
    "figure": '''
"""A bar for each layer's weight."""

from __future__ import annotations

from glora_lab.drawing.picture import Picture, draw, draws
from glora_lab.drawing.theme import plain

from .record import Weighing


@draws(Weighing)
def draw_weighing(record: Weighing) -> Picture:
    """One bar a layer."""
    names = [plain(name) for name in record.norms]
    heaviest = max(record.norms, key=lambda name: record.norms[name])
    bars = {"type": "bar", "x": names, "y": list(record.norms.values())}
    words = "; ".join(f"{name} weighs {norm:.2f}" for name, norm in record.norms.items())
    return draw([bars], f"{plain(heaviest)} is the heaviest", words, height=300)
''',
    "panel": '''
"""WeighingPanel: a number of layers → the weights of the first of them."""

from __future__ import annotations

from torch import nn

from glora_lab.page.controls.widgets import IntSlider
from glora_lab.page.figure_slot import FigureSlot
from glora_lab.page.panel import Panel, guarded_about

from .figure import draw_weighing
from .measure import weighing
from .record import Weighing


class WeighingPanel(Panel):
    """A number of layers → their weights. State: `seen` (Weighing)."""

    seen: Weighing

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._all = weighing(model)
        self.layers = IntSlider(1, 1, len(self._all.norms), description="layers")
        self.picture = FigureSlot()
        self.arrange(controls=[self.layers], picture=[self.picture])
        self.layers.observe(self._change, "value")
        self._change(None)

    @guarded_about("settings")
    def _change(self, _: object) -> None:
        first = list(self._all.norms.items())[: self.layers.value]
        self.seen = Weighing(dict(first))
        self.picture.show(draw_weighing(self.seen))
''',
}

# list → the lines that hand names on, and the entries of the list itself
NAMES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "records/__init__.py": (("from glora_lab.ideas.weighing.record import Weighing",), ('"Weighing",',)),
    "measure/__init__.py": (("from glora_lab.ideas.weighing.measure import weighing",), ('"weighing",',)),
    "figures/__init__.py": (
        (
            "from glora_lab.ideas.weighing.figure import draw_weighing",
            "plot_weighing, describe_weighing = apart(draw_weighing)",
        ),
        ('"describe_weighing",', '"plot_weighing",'),
    ),
    "panels/__init__.py": (("from glora_lab.ideas.weighing.panel import WeighingPanel",), ('"WeighingPanel",',)),
    "__init__.py": ((), ('"weighing": "measure",', '"plot_weighing": "figures",')),
}

KEEPS_TO_THE_PLAN = """
import glora_lab
from tests import source, test_house

assert str(source.PACKAGE) == glora_lab.__path__[0], "not the copy"

def keeps_to_the_plan():
    for module in sorted(source.PACKAGE.rglob("*.py")):
        test_house.test_imports_keep_to_the_plan(module)

keeps_to_the_plan()
test_house.test_no_name_is_empty()
test_house.test_no_file_is_two_ideas()
for name in glora_lab.__all__:
    test_house.test_public_names_resolve(name)
"""

USED = """
from torch import nn
import glora_lab.ideas.show
from glora_lab import plot_weighing, weighing
from glora_lab.figures import describe_weighing
from glora_lab.panels import WeighingPanel, check_panels, show
from glora_lab.records import Weighing

model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
record = weighing(model)
assert record == Weighing({"0": model[0].weight.norm().item(), "2": model[2].weight.norm().item()})
assert plot_weighing(record).data[0].y == tuple(record.norms.values())
shown = []
glora_lab.ideas.show.display = lambda what, **_: shown.append(what)
show(record)
assert shown[0]["text/plain"] == describe_weighing(record) and "is the heaviest" in shown[0]["image/svg+xml"]
panel = WeighingPanel(model)
panel.layers.value = 2
assert panel.seen == record and panel.picture.summary == describe_weighing(record)
check_panels()
"""

FORBIDDEN = """
(source.PACKAGE / "ideas/weighing/figure_of_torch.py").write_text("import torch\\n")
try:
    keeps_to_the_plan()
except AssertionError as refusal:
    assert "figure_of_torch.py:1 imports torch" in str(refusal)
else:
    raise AssertionError("a figure may not import torch, in a new folder either")
"""

IMPORTED = """
import importlib, pkgutil

for module in pkgutil.walk_packages(glora_lab.__path__, "glora_lab."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package and the rules of the house, elsewhere. Compiled files travel: their sources' dates do."""
    shutil.copytree(PACKAGE, tmp_path / PACKAGE.name)
    (tmp_path / "tests").mkdir()
    for name in ("pyproject.toml", "tests/__init__.py", "tests/source.py", "tests/test_house.py"):
        shutil.copy2(ROOT / name, tmp_path / name)
    return tmp_path / PACKAGE.name


def run(copy: Path, program: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(copy.parent)}
    command = [sys.executable, "-c", KEEPS_TO_THE_PLAN + program]
    done = subprocess.run(command, cwd=copy.parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def sources(package: Path) -> dict[str, str]:
    return {str(path.relative_to(package)): path.read_text(encoding="utf-8") for path in package.rglob("*.py")}


def changed_lines(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(file, "+ line" or "- line") of every line that came or went."""
    for name in sorted(before.keys() | after.keys()):
        pair = (files.get(name, "").splitlines() for files in (before, after))
        yield from ((name, line) for line in difflib.ndiff(*pair) if line[0] in "+-")


def put_into(source: str, brought: tuple[str, ...], entries: tuple[str, ...]) -> str:
    """The list with entries at its end, and above it, after what other ideas bring, what the new one brings."""
    lines = source.splitlines(keepends=True)
    opens = next(n for n, line in enumerate(lines) if re.match(r"(__all__|_HOME)\b.*[\[{]$", line))
    ends = next(n for n in range(opens, len(lines)) if lines[n][0] in "]}")
    lines[ends:ends] = [f"    {entry}\n" for entry in entries]
    if brought:
        last = max(n for n, line in enumerate(lines[:opens]) if line.startswith("from glora_lab.ideas."))
        lines[last + 1 : last + 1] = [f"{line}\n" for line in brought]
    return "".join(lines)


def without(source: str, ideas: tuple[str, ...], names: set[str]) -> str:
    """The list without what it brings from these ideas, and without the lines of these names."""
    lines: dict[int, str] = dict(enumerate(source.splitlines(keepends=True), start=1))
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom) and is_of(ideas, node.module or ""):
            for number in range(node.lineno, (node.end_lineno or 0) + 1):
                del lines[number]
    entry = re.compile(rf'(\s+")?({"|".join(sorted(names))})\b')
    return "".join(line for line in lines.values() if not entry.match(line))


def is_of(ideas: tuple[str, ...], module: str) -> bool:
    return any(f"{module}.".startswith(f"glora_lab.ideas.{idea}.") for idea in ideas)


def test_an_idea_is_added_as_one_folder_and_its_names(copy: Path) -> None:
    before = sources(copy)
    (copy / "ideas/weighing").mkdir()
    for name, source in IDEA.items():
        (copy / f"ideas/weighing/{name}.py").write_text(source.lstrip("\n"), encoding="utf-8")
    for name in LISTS:
        (copy / name).write_text(put_into(before[name], *NAMES[name]), encoding="utf-8")

    elsewhere = [change for change in changed_lines(before, sources(copy)) if "ideas/weighing/" not in change[0]]
    expected = {(name, line) for name, (brought, entries) in NAMES.items() for line in (*brought, *entries)}
    assert {(name, line[2:].strip()) for name, line in elsewhere} == expected
    assert all(line.startswith("+") for _, line in elsewhere) and len(elsewhere) == len(expected)
    run(copy, USED + FORBIDDEN)


def test_ideas_are_taken_away_with_their_folders_and_their_names(copy: Path) -> None:
    names = {
        alias.name
        for name in LISTS
        for node in ast.walk(ast.parse((copy / name).read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and is_of(ON_THEIR_OWN, node.module or "")
        for alias in node.names
    }
    names |= {name.replace("draw_", verb, 1) for name in names for verb in ("plot_", "describe_")}
    assert {"Descent", "descent", "plot_descent", "XrayPanel"} <= names
    for idea in ON_THEIR_OWN:
        shutil.rmtree(copy / "ideas" / idea)
    for name in LISTS:
        source = (copy / name).read_text(encoding="utf-8")
        (copy / name).write_text(without(source, ON_THEIR_OWN, names), encoding="utf-8")
    run(copy, f"assert not {names!r} & {{*glora_lab.__all__}}\n" + IMPORTED)
