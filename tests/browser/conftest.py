"""Chromium and JupyterLab, started once; a fresh tab and kernel for each test.

Without Chromium the tests skip and say so, except where they are required (in CI and under `make test`):
there a skipped browser test is a failed one.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.lab_server import LabServer
from tests.browser.notebook_page import PATIENCE, NotebookPage

REQUIRED = bool(os.environ.get("GLORA_LAB_REQUIRE_BROWSER") or os.environ.get("CI"))
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
]
VIEWPORT = {"width": 1280, "height": 1100}
TEST_SECONDS = 1800  # a quiet machine takes a minute for the longest; what hangs is found by PATIENCE

expect.set_options(timeout=1000 * PATIENCE)

OpenNotebook = Callable[[Path], NotebookPage]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(TEST_SECONDS))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if REQUIRED and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome, report.longrepr = "failed", f"skipped, but required here: {report.longrepr}"
    if report.failed:
        item.stash[FAILED] = True
    return report


FAILED = pytest.StashKey[bool]()
MEASURED = "measured in the page"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What the tests measured, of which only a bound that a busy machine keeps is asserted."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    lines = [value for report in reports for name, value in report.user_properties if name == MEASURED]
    if lines:
        terminalreporter.section(MEASURED)
    for line in lines:
        terminalreporter.line(line)


def chromium_path() -> str | None:
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    path = chromium_path()
    if path is None:
        pytest.skip("no Chromium: install it, or name one in the environment variable CHROMIUM")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=CHROMIUM_OPTIONS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="package")
def lab_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    with LabServer(tmp_path_factory.mktemp("lab")) as server:
        yield server


@pytest.fixture
def tab(browser: Browser, lab_server: LabServer, request: pytest.FixtureRequest) -> Iterator[NotebookPage]:
    """An empty tab, whose errors the test looks at itself: `open_notebook` is the fixture to use."""
    context = browser.new_context(viewport=VIEWPORT, reduced_motion="reduce")
    context.set_default_timeout(1000 * PATIENCE)
    measured = request.node.user_properties
    results = request.config.rootpath / "test-results"
    yield NotebookPage(context.new_page(), lab_server, results, lambda line: measured.append((MEASURED, line)))
    context.close()


@pytest.fixture
def open_notebook(tab: NotebookPage, request: pytest.FixtureRequest) -> Iterator[OpenNotebook]:
    """`open_notebook(path)` opens a copy; in the end the test fails for any error that nobody saw."""
    name = re.sub(r"\W+", "_", request.node.name)
    yield lambda notebook: tab.open(notebook, name)
    if request.node.stash.get(FAILED, False):
        tab.screenshot(name)
    errors = tab.close()
    if errors:
        tab.screenshot(f"{name}_errors")
        pytest.fail("errors that nobody saw:\n" + "\n".join(errors), pytrace=False)
