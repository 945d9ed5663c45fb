"""How panels lie on the page: whether all of them is seen, and nothing over anything else. `layout.js` measures."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from playwright.sync_api import Page

from tests.browser.notebook_page import NotebookPage

IN_PAGE = Path(__file__).with_suffix(".js").read_text()
SMALL = (1280, 800)  # with JupyterLab's file browser open, as it is in all of these
SIZES = (SMALL, (1920, 1080), (853, 800), (700, 800), (600, 800), (640, 400))  # the last is 1280 × 800 at 200%
PANELS = "document.querySelectorAll('.glora-panel')"


def begin(page: Page) -> None:
    """Bring to the page what measures it."""
    if not page.evaluate("Boolean(window.layout)"):
        page.evaluate(IN_PAGE)


def change_theme(notebook: NotebookPage, theme: str) -> None:
    """To "Light" or "Dark"."""
    change = f'window.jupyterapp.commands.execute("apputils:change-theme", {{ theme: "JupyterLab {theme}" }})'
    notebook.page.evaluate(f"() => {{ {change} }}")
    notebook.until(f"document.body.dataset.jpThemeName === 'JupyterLab {theme}'")


def resize(notebook: NotebookPage, width: int, height: int) -> None:
    """Change the window, and wait until the figures fit."""
    begin(notebook.page)
    notebook.page.set_viewport_size({"width": width, "height": height})
    notebook.page.wait_for_timeout(300)  # what tells the figures waits, too
    notebook.until("layout.settled()")


def faults(notebook: NotebookPage, names: Iterable[str]) -> list[str]:
    """What lies over something else, is cut or outside, for each panel of the page in its order."""
    found = notebook.page.evaluate(f"[...{PANELS}].map(layout.faults)")
    return [f"{name}: {fault}" for name, said in zip(names, found, strict=True) for fault in said]


def unseen(notebook: NotebookPage, names: Iterable[str]) -> list[str]:
    """Panels whose main picture ends below the screen where they begin at its top."""
    room = notebook.page.evaluate("document.querySelector('.jp-Notebook').clientHeight")
    found = notebook.page.evaluate(f"[...{PANELS}].map(layout.reach)")
    low = [(name, reach) for name, reach in zip(names, found, strict=True) if reach > room]
    return [f"{name}: its picture ends at {reach:.0f} of {room} pixels" for name, reach in low]
