"""How long a reader waits for a picture: from a move of each panel's main control to the frame that draws it.

A real JupyterLab in Chromium, and each panel in a notebook and a kernel of its own, since that is how most lessons show
one; `--together` puts all of them on one page, whose every change the browser then lays out among thirty thousand
elements. The picture is the panel's main one; how long one further down takes is a line of its own.

A wait is told apart into what the page, the wire and the kernel had of it: kernel, from there that it takes the message
up until it sends its last reply; wire, the message's way to it and its first reply's way back, while the page has
nothing to draw yet; page, all else, most of it drawing. Beside it the processor time of the kernel's answer and, of all
that follows a move, of the page's main thread, which other programs on the machine lengthen less.

`--memory` moves each control 200 times instead, after 40 to warm up, and says by how much kernel and page have grown.
Exits with 1 where a median is over 100 ms, or something grew by over 5%.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import psutil
from playwright.sync_api import Browser, CDPSession, Locator, sync_playwright

from tests.browser.all_panels import BELOW, MAIN, PANELS, all_panels, one_panel
from tests.browser.conftest import CHROMIUM_OPTIONS, VIEWPORT, chromium_path
from tests.browser.lab_server import LabServer
from tests.browser.notebook_page import PATIENCE, NotebookPage

MOVES, WARM, MANY = 12, 40, 200
LONGEST, GROWTH = 100, 0.05  # milliseconds; a share
REST, BREATH = 400, 20  # milliseconds between moves: a hand's, and as little as leaves the page its turn
TO_AND_FRO = ["ArrowRight", "ArrowRight", "ArrowLeft", "ArrowLeft"]
# In the kernel: processor seconds of each answer, by the message that it answers.
TIMED = """\
import os, time
spent, answers = {}, get_ipython().kernel.shell_handlers
def timed(stream, ident, message, answer=answers["comm_msg"]):
    began = time.thread_time()
    try:
        return answer(stream, ident, message)
    finally:
        spent[message["header"]["msg_id"]] = time.thread_time() - began
answers["comm_msg"] = timed"""
COUNT = "len(get_ipython().kernel.comm_manager.comms)"


@contextmanager
def begun(folder: Path) -> Iterator[tuple[Browser, LabServer]]:
    (folder / "lab").mkdir()
    with sync_playwright() as playwright, LabServer(folder / "lab") as server:
        chromium = playwright.chromium.launch(executable_path=chromium_path(), args=CHROMIUM_OPTIONS)
        yield chromium, server
        chromium.close()


@contextmanager
def opened(chromium: Browser, server: LabServer, path: Path) -> Iterator[NotebookPage]:
    """The notebook, run."""
    context = chromium.new_context(viewport=VIEWPORT, reduced_motion="reduce")
    context.set_default_timeout(1000 * PATIENCE)
    notebook = NotebookPage(context.new_page(), server, path.parent)
    notebook.open(path, path.stem)
    notebook.run_all()
    notebook.page.evaluate("lab.hearMessages()")
    yield notebook
    assert (errors := notebook.close()) == [], "\n".join(errors)
    context.close()


def panel_of(notebook: NotebookPage, name: str) -> Locator:
    return notebook.page.locator(".jp-CodeCell", has_text=f"{name} = ").locator(".glora-panel")


def move(notebook: NotebookPage, name: str, keys: list[str], rest: int, below: str = "") -> None:
    """Move the panel's main control, by one step at each key; each is waited for in the main picture, or in another."""
    label, shown = MAIN[name]
    named = panel_of(notebook, name).locator(f'label.widget-label:text-is("{label}")')
    control = named.locator("xpath=..").locator(".noUi-handle, select").first
    control.focus()
    notebook.page.evaluate("lab.messages.length = 0")
    control.evaluate(
        "(control, [keys, shown, rest]) => "
        "{ lab.press(control, keys, lab.last(control.closest('.glora-panel'), shown), rest); }",
        [keys, below or shown, rest],
    )
    notebook.until(f"lab.took.length === {len(keys)}", PATIENCE + 10 * len(keys))


def waits(notebook: NotebookPage) -> list[dict[str, float]]:
    """Of each move the milliseconds that it took, and their parts; not of one that a late picture seemed to answer."""
    messages, moves = notebook.page.evaluate("[lab.messages, lab.moves]")
    found = {}
    for began, drawn in moves:
        sent = next(m for m in messages if m["page"] >= began and {"value", "index"} & {*m["sets"]})
        answer = [m for m in messages if m["direction"] == "recv" and m["of"] == sent["of"] and m["page"] <= drawn]
        if answer:
            taken, last = (milliseconds(one["sent"]) for one in (answer[0], answer[-1]))
            wait, kernel, wire = drawn - began, last - taken, answer[0]["page"] - sent["page"]
            found[sent["of"]] = {"wait": wait, "kernel": kernel, "wire": wire, "page": wait - kernel - wire}
    spent = notebook.evaluate(f"[spent[each] for each in {list(found)}]")
    return [{**parts, "processor": 1000 * seconds} for parts, seconds in zip(found.values(), spent, strict=True)]


def milliseconds(date: str) -> float:
    return 1000 * datetime.fromisoformat(date).timestamp()


HEAD = f"{f'milliseconds, median of {MOVES}':36}   wait  from    to | kernel  wire  page | processor: kernel"


def speed(notebook: NotebookPage, name: str) -> dict[str, float]:
    """The medians over the panel's moves."""
    panel_of(notebook, name).scroll_into_view_if_needed()
    move(notebook, name, TO_AND_FRO, REST)
    medians = timed(notebook, name, f"{name}, {MAIN[name][0]}")
    if name in BELOW:
        timed(notebook, name, "  and below", BELOW[name])
    return medians


def timed(notebook: NotebookPage, name: str, title: str, below: str = "") -> dict[str, float]:
    tools = measuring(notebook)
    before = page_metrics(tools)["TaskDuration"]
    move(notebook, name, TO_AND_FRO * (MOVES // 4), REST, below)
    spent = 1000 * (page_metrics(tools)["TaskDuration"] - before) / MOVES
    parts = waits(notebook)
    medians = {part: statistics.median(each[part] for each in parts) for part in parts[0]} | {"page processor": spent}
    least, most = min(each["wait"] for each in parts), max(each["wait"] for each in parts)
    print(
        f"{title:36} {medians['wait']:6.0f} {least:5.0f} {most:5.0f} | {medians['kernel']:6.0f} "
        f"{medians['wire']:5.0f} {medians['page']:5.0f} | {medians['processor']:17.0f}, page {spent:.0f}",
        flush=True,
    )
    return medians


def measuring(notebook: NotebookPage) -> CDPSession:
    tools = notebook.page.context.new_cdp_session(notebook.page)
    tools.send("Performance.enable", {"timeDomain": "threadTicks"})  # durations in processor time
    return tools


def page_metrics(tools: CDPSession) -> dict[str, float]:
    return {each["name"]: each["value"] for each in tools.send("Performance.getMetrics")["metrics"]}


def memory(notebook: NotebookPage, name: str) -> dict[str, float]:
    """How much of what there was after the warm-up has come since."""
    tools = measuring(notebook)
    kernel = psutil.Process(notebook.evaluate("os.getpid()"))
    panel_of(notebook, name).scroll_into_view_if_needed()
    move(notebook, name, TO_AND_FRO * (WARM // 4), BREATH)
    before = weigh(notebook, tools, kernel)
    move(notebook, name, TO_AND_FRO * (MANY // 4), BREATH)
    after = weigh(notebook, tools, kernel)
    grown = {what: after[what] / before[what] - 1 for what in before}
    print(f"{name:18}", *(f"{what} {before[what]:,.1f} {share:+.1%}" for what, share in grown.items()), sep="  ")
    sys.stdout.flush()
    return grown


def weigh(notebook: NotebookPage, tools: CDPSession, kernel: psutil.Process) -> dict[str, float]:
    """Megabytes of kernel and page, open widgets, elements of the page; what is garbage is collected first."""
    notebook.page.wait_for_timeout(4000)  # the last picture follows, and what waits for it
    notebook.page.evaluate("lab.messages.length = 0")  # what was noted here is not the panel's
    widgets = notebook.evaluate(f"[__import__('gc').collect(), {COUNT}][1]")
    for _ in range(3):
        tools.send("HeapProfiler.collectGarbage")
    page = page_metrics(tools)
    megabytes = 2**20
    return {
        "kernel MB": kernel.memory_info().rss / megabytes,
        "widgets": widgets,
        "page MB": page["JSHeapUsedSize"] / megabytes,
        "elements": page["Nodes"],
    }


def each_panel(
    measure: Callable[[NotebookPage, str], dict[str, float]], names: list[str], together: bool
) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder, begun(Path(folder)) as (chromium, server):
        pages = [names] if together else [[name] for name in names]
        for shown in pages:
            path = all_panels(Path(folder), TIMED) if together else one_panel(Path(folder), shown[0], TIMED)
            with opened(chromium, server, path) as notebook:
                found |= {name: measure(notebook, name) for name in shown}
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("panels", nargs="*", default=[*PANELS], help="which of them; all where none is named")
    parser.add_argument("--together", action="store_true", help="all panels on one page")
    parser.add_argument("--memory", action="store_true", help=f"how much {MANY} moves leave behind")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    arguments = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    if not arguments.memory:
        print(HEAD)
    found = each_panel(memory if arguments.memory else speed, arguments.panels, arguments.together)
    print(f"load average {os.getloadavg()[0]:.1f} at the end")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))
    if arguments.memory:
        return int(any(share > GROWTH for shares in found.values() for share in shares.values()))
    return int(any(medians["wait"] > LONGEST for medians in found.values()))


if __name__ == "__main__":
    sys.exit(main())
