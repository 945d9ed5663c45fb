"""The project's files as the tests of its architecture read them."""

from __future__ import annotations

import ast
import functools
import json
from collections.abc import Iterator
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "glora_lab"
MODULES = sorted(PACKAGE.rglob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
COURSE = [*NOTEBOOKS, ROOT / "notebooks" / "two_processes.py"]  # what travels with the package


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def part(path: Path) -> str:
    """The part of the house that a module belongs to, see `room`."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return room(".".join(parts).removesuffix(".__init__") if len(parts) > 2 else ".".join(parts))


def room(module: str) -> str:
    """The room of a module by its dotted name: "adapters/glora", "ideas:measure" (by the file's name), "figures"."""
    first, *inside = module.split(".")[1:]
    if first == "adapters" and inside:
        return f"adapters/{inside[0]}"
    if first == "ideas" and len(inside) == 2:
        return f"ideas:{inside[1].partition('_')[0]}"
    return "ideas:show" if inside == ["show"] else first


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """(absolute module name, line) of every import: at the top, in a function, or for types alone."""
    package = ["glora_lab", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from glora_lab import figures` names a module as well as `import glora_lab.figures` does
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                names_a_module = module == "glora_lab" or is_module(inner)
                yield (inner if names_a_module else module), node.lineno


def is_module(name: str) -> bool:
    path = PACKAGE.parent.joinpath(*name.split("."))
    return name.startswith("glora_lab.") and (path.is_dir() or path.with_suffix(".py").is_file())


def defined_names(module: Path) -> Iterator[str]:
    """The module's own name, and every function's and class's in it."""
    yield module.stem
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name


def code_cells(notebook: Path) -> list[dict]:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def cell_tree(cell: dict) -> ast.Module:
    """A cell's syntax, magics and shell commands turned into the Python that they stand for."""
    return ast.parse(TransformerManager().transform_cell("".join(cell["source"])))
