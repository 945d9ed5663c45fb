"""A panel notebook as a page: Voilà runs it, hides the code, and the controls work. Nothing is asked of elsewhere."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, expect

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
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
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
        assert hosts - {""} == {urlsplit(voila).netloc}
        page.screenshot(path=ROOT / "test-results" / f"voila_{Path(name).stem}.png")
    finally:
        context.close()
