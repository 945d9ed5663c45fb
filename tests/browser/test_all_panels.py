"""One page with a panel of each kind, twelve in all: it asks its own server and nobody else, it keeps nobody out, light
or dark, it answers, and nothing is left of a closed panel.

test_voila says the same of Voilà's page. The fixture refuses a request that leaves the server and fails the test for
it; here every request is looked at as well, so that the statement does not rest on the fixture.

Set PANEL_PICTURES to a folder to have the README's pictures of the panels taken: `make pictures`.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from glora_lab import panels
from tests.browser import layout
from tests.browser.accessibility import faint_texts, serious_violations
from tests.browser.all_panels import PANELS, all_panels
from tests.browser.conftest import OpenNotebook
from tests.browser.notebook_page import NotebookPage

TALLEST = 740  # pixels of a picture in the README
PICTURED = (1280, 700)  # pixels of the window


COUNT = """\
from glora_lab.page.panel import PANELS
from ipywidgets.widgets.widget import _instances
before = set(_instances)
comms = lambda: get_ipython().kernel.comm_manager.comms
open_widgets = lambda: len((set(_instances) | set(comms())) - before)"""
MORE_NAMES = ("PathPanel again", "XrayPanel again")
MORE = """\
more = [panels.PathPanel(), panels.XrayPanel(adapted)]
for panel in more:
    display(panel)"""


def test_the_page_asks_nobody_else_keeps_nobody_out_and_bears_ten_panels(
    tab: NotebookPage, open_notebook: OpenNotebook, tmp_path: Path
) -> None:
    assert set(PANELS) == {name for name in panels.__all__ if name.endswith("Panel")} - {"Panel"}
    asked: set[tuple[str, str]] = set()
    tab.page.on("request", lambda request: asked.add(urlsplit(request.url)[:2]))
    tab.page.on("websocket", lambda socket: asked.add(urlsplit(socket.url)[:2]))
    notebook = open_notebook(all_panels(tmp_path, COUNT, MORE))
    notebook.run_all()
    notebook.until("document.querySelectorAll('.glora-panel').length === 12")
    notebook.until("document.querySelectorAll('.js-plotly-plot .main-svg').length >= 6")

    is_seen_whole_and_keeps_nobody_out(notebook)
    answers_and_leaves_nothing(notebook)

    home = urlsplit(notebook.page.url)[1]
    assert {host for scheme, host in asked if scheme not in ("data", "blob")} == {home}
    assert {scheme for scheme, _ in asked} >= {"http", "ws"}  # the listeners did hear the page
    assert notebook.refused == [] and notebook.errors() == []


def is_seen_whole_and_keeps_nobody_out(notebook: NotebookPage) -> None:
    """At every size, light and dark: nothing lies over anything or is cut, axe-core finds nothing serious, and the
    figures' texts can be read; on a small screen each main picture is seen whole.

    A pressed button is told from its neighbours in either theme.
    """
    names = [*PANELS, *MORE_NAMES]
    found: dict[str, list[str]] = {}
    for theme in ("dark", "light"):  # and light it stays, for the tests after this one
        layout.change_theme(notebook, theme.title())
        for width, height in layout.SIZES:
            layout.resize(notebook, width, height)
            problems = layout.faults(notebook, names)
            problems += [*serious_violations(notebook, ".glora-panel"), *faint_texts(notebook, ".glora-panel")]
            problems += layout.unseen(notebook, names) if (width, height) == layout.SMALL else []
            for problem in problems:
                found.setdefault(problem, []).append(f"{theme} {width} × {height}")
            if width in PICTURED:
                take_pictures(notebook, theme, width)
        layout.resize(notebook, *layout.SMALL)
        notebook.page.mouse.move(0, 0)
        assert 3 <= notebook.page.evaluate("lab.pressed()") <= 21
    assert found == {}, "\n".join(["", *(f"{problem} ({', '.join(where)})" for problem, where in found.items())])


def answers_and_leaves_nothing(notebook: NotebookPage) -> None:
    took = notebook.seconds_to_picture("rank", "the weight moves", ["ArrowRight", "ArrowLeft"] * 3)
    notebook.tell_times("ten panels in one notebook, rank to picture", took)
    assert len(took) == 6
    assert notebook.evaluate("open_widgets()") > 300
    closed = "[panel.close() for panel in PANELS.copy()]"
    assert notebook.evaluate(f"{closed} and open_widgets()") == 0
    notebook.until("document.querySelectorAll('.glora-panel, .glora-figure').length === 0")


def take_pictures(notebook: NotebookPage, theme: str, width: int) -> None:
    """One of each panel in test-results/, where pictures are wanted; of the wide ones the README's, each for pages of
    its theme."""
    wanted = os.environ.get("PANEL_PICTURES")
    if not wanted:
        return
    layout.resize(notebook, width, 2400)  # so that the tallest panel is seen whole
    for name in PANELS:
        panel = notebook.page.locator(".jp-CodeCell", has_text=f"{name} = ").locator(".glora-panel")
        panel.scroll_into_view_if_needed()
        notebook.page.wait_for_timeout(300)
        picture = notebook.screenshot(f"{theme}_{width}_{name}", panel)
        if width == PICTURED[0]:
            file = f"{name}.png" if theme == "light" else f"{name}_dark.png"
            (Path(wanted) / file).write_bytes(notebook.shrunk(picture.read_bytes(), 0.6, TALLEST))
