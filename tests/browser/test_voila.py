"""A panel notebook as a page: Voilà runs it, hides the code, and the controls work, with the network cut.

Voilà's own page asks a CDN for the font of its icons. That request is refused here like any other, and the page does
without; the notebook and its panels ask nobody.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Route, expect

from tests.browser.all_panels import PANELS, all_panels
from tests.browser.conftest import VIEWPORT
from tests.browser.lab_server import STRICT_PROFILE, LabServer, free_port
from tests.source import ROOT

ONE = ROOT / "notebooks/01_five_paths.ipynb"


@pytest.fixture(scope="module")
def voila(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Voilà that shows a folder with a notebook of the course and one with all panels."""
    home = tmp_path_factory.mktemp("voila")
    root, port = home / "root", free_port()
    root.mkdir()
    shutil.copy(ONE, root)
    all_panels(root)
    shutil.copytree(STRICT_PROFILE, home / "ipython" / "profile_default")
    options = [f"--port={port}", "--no-browser", "--Voila.ip=127.0.0.1", f"--Voila.root_dir={root}"]
    environment = LabServer(home).environment()
    with (home / "voila.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "voila", str(root), *options], env=environment, stdout=log, stderr=log, cwd=root
        )
    try:
        wait_until_up(f"http://127.0.0.1:{port}/", process, home / "voila.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def wait_until_up(url: str, process: subprocess.Popen[bytes], log: Path, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"Voilà did not come up:\n{log.read_text()[-3000:]}")


@pytest.mark.parametrize(("name", "panels"), [(ONE.name, 1), ("all_panels.ipynb", len(PANELS))])
def test_a_panel_notebook_opens_as_a_page(voila: str, browser: Browser, name: str, panels: int) -> None:
    context = browser.new_context(viewport=VIEWPORT, reduced_motion="reduce")
    page = context.new_page()
    refused: list[str] = []

    def guard(route: Route) -> None:
        if route.request.url.startswith((voila, "data:", "blob:")):
            route.continue_()
        else:
            refused.append(route.request.url)
            route.abort()

    context.route("**/*", guard)
    try:
        page.goto(f"{voila}/voila/render/{name}", timeout=180_000)
        expect(page.locator(".glora-panel")).to_have_count(panels, timeout=180_000)
        expect(page.locator(".glora-panel .js-plotly-plot .main-svg").first).to_be_attached(timeout=60_000)
        assert page.locator(".jp-CodeMirrorEditor, .jp-InputArea-editor").count() == 0  # a page, no code
        says = page.locator(".glora-panel", has_text="trainable parameters in this layer").first
        before = says.inner_text()
        says.locator("button.widget-toggle-button", has_text="none").first.click()
        expect(says).not_to_contain_text(
            next(line for line in before.splitlines() if "trainable" in line), timeout=30_000
        )
        assert all("/@fortawesome/fontawesome-free@" in url for url in refused), refused
        page.screenshot(path=ROOT / "test-results" / f"voila_{Path(name).stem}.png")
    finally:
        context.unroute_all(behavior="ignoreErrors")
        context.close()
