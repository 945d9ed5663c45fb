"""A panel notebook as a page: Voilà runs it, hides the code, and the controls work, with the network cut.

Voilà's own page asks a CDN for the font of its icons. That request is refused here like any other, and the page does
without; the notebook and its panels ask nobody.

`make voila` opens every notebook that has a panel, one after the other; the ordinary run opens one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.conftest import VIEWPORT
from tests.browser.lab_server import STRICT_PROFILE, LabServer, free_port
from tests.browser.notebook_page import PATIENCE
from tests.browser.test_stage import fills_the_window_and_gives_it_back, the_pointer_finds_what_it_is_at
from tests.source import ROOT

ONE = "01_five_paths"
EVERY = ["00_start_here", ONE, "02_parameter_budget", "03_train_live", "04_merge_and_switch", "05_gralora_blocks"]
EVERY += ["06_gradient_entanglement", "07_when_rank_helps", "08_special_cases", "09_your_model"]


@pytest.fixture(scope="module")
def voila(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Voilà that shows the course."""
    home = tmp_path_factory.mktemp("voila")
    root, port = home / "root", free_port()
    shutil.copytree(ROOT / "notebooks", root)
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
        process.wait(60)


def wait_until_up(url: str, process: subprocess.Popen[bytes], log: Path, seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=60).close()
            return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"Voilà did not come up:\n{log.read_text()[-3000:]}")


@pytest.mark.parametrize("name", EVERY if os.environ.get("VOILA_EVERY") else [ONE])
def test_a_panel_notebook_opens_as_a_page(voila: str, browser: Browser, name: str) -> None:
    context = browser.new_context(viewport=VIEWPORT, reduced_motion="reduce")
    context.set_default_timeout(1000 * PATIENCE)
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
        page.goto(f"{voila}/voila/render/{name}.ipynb", timeout=1000 * PATIENCE)
        waive(page)
        expect(page.locator(".glora-panel .js-plotly-plot .main-svg").first).to_be_attached(timeout=1000 * PATIENCE)
        assert page.locator(".jp-CodeMirrorEditor, .jp-InputArea-editor").count() == 0  # a page, no code
        assert page.locator(".jp-mod-error, [data-mime-type='application/vnd.jupyter.stderr']").count() == 0
        if name == ONE:
            a_control_answers(page)
            fills_the_window_and_gives_it_back(page, the_pointer_finds_what_it_is_at)
        assert all("/@fortawesome/fontawesome-free@" in url for url in refused), refused
        page.screenshot(path=ROOT / "test-results" / f"voila_{name}.png", full_page=True)
    finally:
        context.unroute_all(behavior="ignoreErrors")
        context.close()


def waive(page: Page) -> None:
    """Every lesson asks for a guess first, here too."""
    asks = page.locator(".glora-guess button", has_text="Show me without guessing")
    asks.first.wait_for(timeout=1000 * PATIENCE)
    while before := asks.count():
        asks.first.click()
        expect(asks).not_to_have_count(before)


def a_control_answers(page: Page) -> None:
    says = page.locator(".glora-panel", has_text="trainable parameters in this layer").first
    before = says.inner_text()
    says.locator("button.widget-toggle-button", has_text="none").first.click()
    trainable = next(line for line in before.splitlines() if "trainable" in line)
    expect(says).not_to_contain_text(trainable)
