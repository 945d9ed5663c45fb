"""axe-core, the accessibility checker, run over a part of the page. `make axe` fetches it beside the environment."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.browser.notebook_page import NotebookPage

AXE = Path(sys.prefix) / "axe" / "node_modules" / "axe-core" / "axe.min.js"
SERIOUS = ("serious", "critical")


def serious_violations(notebook: NotebookPage, selector: str) -> list[str]:
    """What keeps somebody out, in every element that the selector finds: rule, how serious, and the markup."""
    if not AXE.is_file():
        pytest.skip("no axe-core: make axe")
    if not notebook.page.evaluate("Boolean(window.axe)"):
        notebook.page.evaluate(AXE.read_text())
    notebook.page.evaluate(
        f"""() => {{
            window.axeSays = null;
            axe.run({{ include: [[{json.dumps(selector)}]] }}, {{ resultTypes: ["violations"] }}).then(
                (found) => (window.axeSays = found.violations), (error) => (window.axeSays = String(error)));
        }}"""
    )
    notebook.until("window.axeSays !== null", 60)
    found = notebook.page.evaluate("window.axeSays")
    assert isinstance(found, list), found
    return [
        f"{rule['id']} ({rule['impact']}): {node['html'][:200]}"
        for rule in found
        for node in rule["nodes"]
        if rule["impact"] in SERIOUS
    ]


def faint_texts(notebook: NotebookPage, selector: str) -> list[str]:
    """The texts of figures, which axe-core passes over, with less than 4.5:1 to the page."""
    seen = notebook.page.evaluate("selector => lab.faint(selector)", selector)
    assert seen["looked"] > 50
    return [f"faint in a figure: {text}" for text in seen["faint"]]
