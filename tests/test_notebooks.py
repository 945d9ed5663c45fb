"""The notebooks' form. That they run is nbmake's to say."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from tests.source import NOTEBOOKS, cell_tree, code_cells

MAX_LINES = 12

each_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)


def asserts(cell: dict) -> list[ast.Assert]:
    return [node for node in ast.walk(cell_tree(cell)) if isinstance(node, ast.Assert)]


def test_there_is_a_course() -> None:
    assert "00_start_here" in {notebook.stem for notebook in NOTEBOOKS}


@each_notebook
def test_nothing_is_stored(notebook: Path) -> None:
    assert "widgets" not in json.loads(notebook.read_text(encoding="utf-8"))["metadata"]
    for cell in code_cells(notebook):
        assert cell["outputs"] == [] and cell["execution_count"] is None, "".join(cell["source"])


@each_notebook
def test_nothing_is_defined(notebook: Path) -> None:
    for cell in code_cells(notebook):
        for node in ast.walk(cell_tree(cell)):
            assert not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef), ast.unparse(node)


@each_notebook
def test_a_cell_is_read_at_a_glance(notebook: Path) -> None:
    for cell in code_cells(notebook):
        source = "".join(cell["source"])
        assert len(source.splitlines()) <= MAX_LINES, source


@each_notebook
def test_claims_are_asserted(notebook: Path) -> None:
    assert any(asserts(cell) for cell in code_cells(notebook))


@each_notebook
def test_the_last_cell_asserts_that_no_error_was_met(notebook: Path) -> None:
    last = code_cells(notebook)[-1]
    assert any("error" in ast.unparse(claim) for claim in asserts(last)), "".join(last["source"])
