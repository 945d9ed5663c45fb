"""How long a reader waits for a picture: from a move of each panel's main control to the frame that draws it.

A real JupyterLab in Chromium with one panel of each kind. A wait is told apart into what the page, the wire and the
kernel had of it: page, until the message is sent and from the last reply on; kernel, from there that it takes the
message up until it sends that reply; wire, what lies between, waiting in either queue included. Beside it the processor
time of the kernel's answer, which other programs on the machine lengthen less.

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
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import psutil
from playwright.sync_api import CDPSession, Locator, sync_playwright

from tests.browser.all_panels import MAIN, PANELS, all_panels
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
def open_panels(folder: Path) -> Iterator[NotebookPage]:
    """The notebook of all panels, run."""
    with sync_playwright() as playwright, LabServer(folder / "lab") as server:
        chromium = playwright.chromium.launch(executable_path=chromium_path(), args=CHROMIUM_OPTIONS)
        context = chromium.new_context(viewport=VIEWPORT, reduced_motion="reduce")
        context.set_default_timeout(1000 * PATIENCE)
        notebook = NotebookPage(context.new_page(), server, folder)
        notebook.open(all_panels(folder, TIMED), "panels")
        notebook.run_all()
        notebook.page.evaluate("lab.hearMessages()")
        yield notebook
        assert (errors := notebook.close()) == [], "\n".join(errors)
        chromium.close()


def panel_of(notebook: NotebookPage, name: str) -> Locator:
    return notebook.page.locator(".jp-CodeCell", has_text=f"{name} = ").locator(".glora-panel")


def move(notebook: NotebookPage, name: str, keys: list[str], rest: int) -> None:
    """Move the panel's main control, by one step at each key."""
    label, shown = MAIN[name]
    named = panel_of(notebook, name).locator(f'label.widget-label:text-is("{label}")')
    control = named.locator("xpath=..").locator(".noUi-handle, select").first
    control.focus()
    notebook.page.evaluate("lab.messages.length = 0")
    control.evaluate(
        "(control, [keys, shown, rest]) => "
        "{ lab.press(control, keys, lab.last(control.closest('.glora-panel'), shown), rest); }",
        [keys, shown, rest],
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
            wait, kernel, wire = drawn - began, last - taken, taken - sent["page"] + answer[-1]["page"] - last
            found[sent["of"]] = {"wait": wait, "kernel": kernel, "wire": wire, "page": wait - kernel - wire}
    spent = notebook.evaluate(f"[spent[each] for each in {list(found)}]")
    return [{**parts, "processor": 1000 * seconds} for parts, seconds in zip(found.values(), spent, strict=True)]


def milliseconds(date: str) -> float:
    return 1000 * datetime.fromisoformat(date).timestamp()


def speed(notebook: NotebookPage, names: list[str]) -> dict[str, dict[str, float]]:
    """Panel → the medians over its moves."""
    print(f"{f'milliseconds, median of {MOVES}':36} {'wait':>6} {'from':>5} {'to':>5} | kernel  wire  page | processor")
    medians = {}
    for name in names:
        panel_of(notebook, name).scroll_into_view_if_needed()
        move(notebook, name, TO_AND_FRO, REST)
        move(notebook, name, TO_AND_FRO * (MOVES // 4), REST)
        parts = waits(notebook)
        one = medians[name] = {part: statistics.median(each[part] for each in parts) for part in parts[0]}
        least, most = min(each["wait"] for each in parts), max(each["wait"] for each in parts)
        print(
            f"{name + ', ' + MAIN[name][0]:36} {one['wait']:6.0f} {least:5.0f} {most:5.0f} | {one['kernel']:6.0f} "
            f"{one['wire']:5.0f} {one['page']:5.0f} | {one['processor']:9.0f}",
            flush=True,
        )
    return medians


def memory(notebook: NotebookPage, names: list[str]) -> dict[str, dict[str, float]]:
    """Panel → what there was after the warm-up, and how much of that has come since."""
    tools = notebook.page.context.new_cdp_session(notebook.page)
    tools.send("Performance.enable")
    kernel = psutil.Process(notebook.evaluate("os.getpid()"))
    grown = {}
    for name in names:
        panel_of(notebook, name).scroll_into_view_if_needed()
        move(notebook, name, TO_AND_FRO * (WARM // 4), BREATH)
        before = weigh(notebook, tools, kernel)
        move(notebook, name, TO_AND_FRO * (MANY // 4), BREATH)
        after = weigh(notebook, tools, kernel)
        grown[name] = {what: after[what] / before[what] - 1 for what in before}
        shares = [f"{what} {before[what]:,.1f} {share:+.1%}" for what, share in grown[name].items()]
        print(f"{name:18}", *shares, sep="  ", flush=True)
    return grown


def weigh(notebook: NotebookPage, tools: CDPSession, kernel: psutil.Process) -> dict[str, float]:
    """Megabytes of kernel and page, open widgets, elements of the page; what is garbage is collected first."""
    notebook.page.wait_for_timeout(4000)  # the last picture follows, and what waits for it
    widgets = notebook.evaluate(f"[__import__('gc').collect(), {COUNT}][1]")
    for _ in range(3):
        tools.send("HeapProfiler.collectGarbage")
    page = {each["name"]: each["value"] for each in tools.send("Performance.getMetrics")["metrics"]}
    megabytes = 2**20
    return {
        "kernel MB": kernel.memory_info().rss / megabytes,
        "widgets": widgets,
        "page MB": page["JSHeapUsedSize"] / megabytes,
        "elements": page["Nodes"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("panels", nargs="*", default=[*PANELS], help="which of them; all where none is named")
    parser.add_argument("--memory", action="store_true", help=f"how much {MANY} moves leave behind")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "lab").mkdir()
        with open_panels(Path(folder)) as notebook:
            print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
            found = (memory if arguments.memory else speed)(notebook, arguments.panels)
            print(f"load average {os.getloadavg()[0]:.1f} at the end")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))
    if arguments.memory:
        return int(any(share > GROWTH for shares in found.values() for share in shares.values()))
    return int(any(medians["wait"] > LONGEST for medians in found.values()))


if __name__ == "__main__":
    sys.exit(main())
