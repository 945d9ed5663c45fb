"""One page with a panel of each kind: it asks its own server and nobody else, and it keeps nobody out, light or dark.

test_voila says the same of Voilà's page. The fixture refuses a request that leaves the server and fails the test for
it; here every request is looked at as well, so that the statement does not rest on the fixture.

Set PANEL_PICTURES to a folder to have the README's pictures of the panels taken: `make pictures`.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from glora_lab import panels
from tests.browser.accessibility import serious_violations
from tests.browser.all_panels import PANELS, all_panels
from tests.browser.conftest import OpenNotebook
from tests.browser.notebook_page import NotebookPage

DARK = 'window.jupyterapp.commands.execute("apputils:change-theme", { theme: "JupyterLab Dark" })'


def test_the_page_asks_nobody_else_and_keeps_nobody_out(
    tab: NotebookPage, open_notebook: OpenNotebook, tmp_path: Path
) -> None:
    assert set(PANELS) == {name for name in panels.__all__ if name.endswith("Panel")} - {"Panel"}
    asked: set[tuple[str, str]] = set()
    tab.page.on("request", lambda request: asked.add(urlsplit(request.url)[:2]))
    tab.page.on("websocket", lambda socket: asked.add(urlsplit(socket.url)[:2]))
    notebook = open_notebook(all_panels(tmp_path))
    notebook.run_all()
    notebook.until(f"document.querySelectorAll('.glora-panel').length === {len(PANELS)}")
    notebook.until("document.querySelectorAll('.js-plotly-plot .main-svg').length >= 6")

    take_pictures(notebook, "light")
    found = {"light": serious_violations(notebook, ".glora-panel")}
    notebook.page.evaluate(f"() => {{ {DARK} }}")
    notebook.until("document.body.dataset.jpThemeName === 'JupyterLab Dark'")
    found["dark"] = serious_violations(notebook, ".glora-panel")
    take_pictures(notebook, "dark")
    assert found == {"light": [], "dark": []}, "\n".join(sorted({*found["light"], *found["dark"]}))

    home = urlsplit(notebook.page.url)[1]
    assert {host for scheme, host in asked if scheme not in ("data", "blob")} == {home}
    assert {scheme for scheme, _ in asked} >= {"http", "ws"}  # the listeners did hear the page
    assert notebook.refused == [] and notebook.errors() == []


def take_pictures(notebook: NotebookPage, theme: str) -> None:
    """One of each panel in test-results/; the light ones for the README too, where it wants them."""
    notebook.page.set_viewport_size({"width": 1280, "height": 1500})  # so that the tallest panel is seen whole
    for name in PANELS:
        panel = notebook.page.locator(".jp-CodeCell", has_text=f"{name} = ").locator(".glora-panel")
        panel.scroll_into_view_if_needed()
        notebook.page.wait_for_timeout(300)
        picture = notebook.screenshot(f"{theme}_{name}", panel)
        if theme == "light" and (wanted := os.environ.get("PANEL_PICTURES")):
            (Path(wanted) / f"{name}.png").write_bytes(notebook.shrunk(picture.read_bytes(), 0.6))
