"""A notebook that runs with nobody there: no guess is asked for, and the exported page has what would wait for it."""

from __future__ import annotations

import html
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter

from glora_lab.page.unattended import STATIC
from tests.written_notebook import write_notebook

CELLS = (
    """\
from glora_lab.panels import Guess
from glora_lab.records import Cost, CostReport
guess = Guess("How many?", between=(0, 8), unit="digits")
guess""",
    """\
report = CostReport((Cost("LoRA", "LoRA", 10, 1, 2048, 3, 12, 1.0),), model="tiny")
guess.then(report, "the words", answer=7)
print(guess.value, guess.waived, guess)""",
)


STATIC_FROM_HERE = f"import os\nos.environ[{STATIC!r}] = '1'"


def test_nobody_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the page has widgets and where it has none, by one kernel."""
    monkeypatch.delenv("COLAB_RELEASE_TAG", raising=False)
    cells = (*CELLS, STATIC_FROM_HERE, *CELLS)
    notebook = nbformat.read(write_notebook(tmp_path / "guess.ipynb", *cells), as_version=4)
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    ran, half = notebook.cells, len(CELLS)
    for static, shown in ((False, ran[:half]), (True, ran[half + 1 :])):
        notebook.cells = shown
        page = html.unescape(HTMLExporter().from_notebook_node(notebook)[0])
        assert "None True Guess('How many?'). It is 7 digits." in page
        assert ("<b>How many?</b>" in page.partition("application/vnd.jupyter.widget-state")[0]) is static
        assert "2 KiB kept for backward" in page and "the words" in page and "data:image/svg+xml;base64," in page
        assert "without guessing" not in page and "waits for your guess" not in page
