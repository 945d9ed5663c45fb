"""The reference: a page for each door of the package, and one for each record, from docstrings and examples.

An example is a section of `docs/examples/<door>.md`, which `tests/test_examples.py` runs.
"""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType

EXAMPLES = Path(__file__).parent / "examples"
SECTION = re.compile(r"^## (\w+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
DOORS = {
    "adapters": "Adapters and their configurations",
    "models": "Models",
    "data": "Tasks",
    "training": "Training",
    "search": "Search",
    "measure": "Measures",
    "figures": "Figures, and the same in words",
    "panels": "Panels",
    "checks": "Checks of the exercises",
}
INDEX = """\
# Reference

Every public name, from its docstring, with an example that the tests run.

```{{toctree}}
:maxdepth: 1

{pages}
```
"""
RECORDS = "records"
COMMANDS = "cli"


def write(folder: Path) -> None:
    (folder / RECORDS).mkdir(parents=True)
    for door, title in DOORS.items():
        module = importlib.import_module(f"glora_lab.{door}")
        parts = [f"# {title}", "", first_paragraph(module), "", f"`from glora_lab.{door} import …`", ""]
        told = examples(door)
        for name in module.__all__:
            parts += [f"## {name}", "", entry(module, name), "", told.get(name, ""), ""]
        (folder / f"{door}.md").write_text("\n".join(parts), encoding="utf-8")
    records = importlib.import_module(f"glora_lab.{RECORDS}")
    told = examples(RECORDS)
    for name in records.__all__:
        page = f"# {name}\n\n{entry(records, name)}\n\n{told.get(name, '')}\n"
        (folder / RECORDS / f"{name}.md").write_text(page, encoding="utf-8")
    listed = "\n".join(records.__all__)
    index = f"# Records\n\n{inspect.getdoc(records)}\n\n```{{toctree}}\n:maxdepth: 1\n\n{listed}\n```\n"
    (folder / RECORDS / "index.md").write_text(index, encoding="utf-8")
    commands = f"# Command line\n\n{examples_whole(COMMANDS)}\n"
    (folder / "command_line.md").write_text(commands, encoding="utf-8")
    pages = "\n".join([*DOORS, f"{RECORDS}/index", "command_line"])
    (folder / "index.md").write_text(INDEX.format(pages=pages), encoding="utf-8")


def examples(door: str) -> dict[str, str]:
    """Name → its example, as Markdown."""
    return {name: body.strip() for name, body in SECTION.findall(examples_whole(door))}


def examples_whole(door: str) -> str:
    file = EXAMPLES / f"{door}.md"
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def first_paragraph(module: ModuleType) -> str:
    return (inspect.getdoc(module) or "").split("\n\n")[0]


def meaning(module: ModuleType, name: str) -> str:
    """What is said above a constant, behind `#:`, wherever in the room of its door it is made."""
    above = re.compile(rf"((?:^#: .*\n)+)^{name}\b", re.MULTILINE)
    files = sorted(Path(module.__file__ or "").parent.glob("*.py"))
    found = [told for file in files if (told := above.search(file.read_text(encoding="utf-8")))]
    return " ".join(line.removeprefix("#: ") for line in found[0][1].splitlines()) if found else ""


def entry(module: ModuleType, name: str) -> str:
    """What Sphinx is asked for: the docstring of a function or a class, the comment of a constant and its value."""
    what = getattr(module, name)
    full = f"{module.__name__}.{name}"
    if told := meaning(module, name):
        value = f"\n   :value: {what!r}" if isinstance(what, int | float | str) else ""
        asked = f".. py:data:: {name}\n   :module: {module.__name__}{value}\n\n   {told}"
    elif inspect.isclass(what):
        asked = f".. autoclass:: {full}\n   :members:"
    else:
        asked = f".. autofunction:: {full}"
    return f"```{{eval-rst}}\n{asked}\n```"
