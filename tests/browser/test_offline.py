"""The page asks its own server and nobody else, in JupyterLab; test_voila says the same of Voilà.

The fixture refuses a request that leaves the server and fails the test for it. Here every request is looked at as
well, so that the statement does not rest on the fixture, with one panel of each kind on the page.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from tests.browser.all_panels import PANELS, all_panels
from tests.browser.conftest import OpenNotebook
from tests.browser.notebook_page import NotebookPage


def test_the_page_loads_nothing_from_elsewhere(tab: NotebookPage, open_notebook: OpenNotebook, tmp_path: Path) -> None:
    asked: set[tuple[str, str]] = set()
    tab.page.on("request", lambda request: asked.add(urlsplit(request.url)[:2]))
    tab.page.on("websocket", lambda socket: asked.add(urlsplit(socket.url)[:2]))
    notebook = open_notebook(all_panels(tmp_path))
    notebook.run_all()
    notebook.until(f"document.querySelectorAll('.glora-panel').length === {len(PANELS)}")
    notebook.until("document.querySelectorAll('.js-plotly-plot .main-svg').length >= 6")
    home = urlsplit(notebook.page.url)[1]
    assert {host for scheme, host in asked if scheme not in ("data", "blob")} == {home}
    assert {scheme for scheme, _ in asked} >= {"http", "ws"}  # the listeners did hear the page
    assert notebook.refused == [] and notebook.errors() == []
