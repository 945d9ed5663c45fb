"""The how-to pages: each at most a screen long, and its Python runs, block after block, as a reader would type it."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest

from tests.source import ROOT

PAGES = sorted((ROOT / "docs/how_to").glob("*.md"))
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
SCREEN = 70  # lines, of which text wraps and code does not
RUN = ("add_method", "add_panel", "checkpoints", "choose_paths", "from_lora", "sft_trainer", "trainers")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


@each_page
def test_a_page_fits_a_screen(page: Path) -> None:
    assert len(page.read_text(encoding="utf-8").splitlines()) <= SCREEN


@pytest.mark.parametrize("name", RUN)
def test_the_code_of_a_page_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = ROOT / f"docs/how_to/{name}.md"
    text = page.read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": f"how_to_{name}"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the trainers' own libraries, which their next versions mend
        for block in BLOCK.finditer(text):
            above = "\n" * text.count("\n", 0, block.start(1))  # so that a traceback names the page's own line
            exec(compile(above + block[1], str(page), "exec"), namespace)


def test_pages_that_show_python_are_the_ones_that_run() -> None:
    assert {page.stem for page in PAGES if BLOCK.search(page.read_text(encoding="utf-8"))} == set(RUN)
