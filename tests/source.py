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
    """The part of the house that a module belongs to: `measure` for glora_lab/measure/budget.py."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


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
            names = [f"{module}.{alias.name}" for alias in node.names] if module == "glora_lab" else [module]
            yield from ((name, node.lineno) for name in names)


def code_cells(notebook: Path) -> list[dict]:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def cell_tree(cell: dict) -> ast.Module:
    """A cell's syntax, magics and shell commands turned into the Python that they stand for."""
    return ast.parse(TransformerManager().transform_cell("".join(cell["source"])))
