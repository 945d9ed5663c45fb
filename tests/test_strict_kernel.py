"""The test kernels are strict: what Jupyter would let pass turns its cell red, and nothing else does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from jupyter_client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from tests.written_notebook import write_notebook

IPYTHONDIR = Path(__file__).parent / "strict_kernel"

BAD = {
    "a thread": "import threading; threading.Thread(target=lambda: 1 / 0).start()",
    "a thread that takes a while": """\
import threading, time
threading.Thread(target=lambda: (time.sleep(0.2), 1 / 0)).start()""",
    "an Output": """\
import ipywidgets
with ipywidgets.Output():
    1 / 0""",
    "a captured function": """\
import ipywidgets
out = ipywidgets.Output()
out.capture()(lambda: 1 / 0)()""",
    "interact": """\
import ipywidgets
ipywidgets.interact(lambda x: 1 / x, x=(0, 1))""",
    "a button": """\
import ipywidgets
button = ipywidgets.Button()
button.on_click(lambda _: 1 / 0)
button.click()""",
    "a callback from the browser": """\
import ipywidgets
slider = ipywidgets.IntSlider(1)
slider.observe(lambda change: 1 / 0, "value")
message = {"content": {"data": {"method": "update", "state": {"value": 2}}}, "buffers": []}
slider.comm.handle_msg(message)""",
    "a task that is kept": """\
import asyncio
async def fail(): 1 / 0
task = asyncio.create_task(fail())
await asyncio.sleep(0.01)""",
    "a task that is dropped": """\
import asyncio
async def fail(): 1 / 0
asyncio.create_task(fail())
await asyncio.sleep(0.01)""",
    "a call of the loop": """\
import asyncio
asyncio.get_running_loop().call_soon(lambda: 1 / 0)
await asyncio.sleep(0.01)""",
    "a future": """\
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor() as pool:
    future = pool.submit(lambda: 1 / 0)""",
    "a logged exception": """\
import logging
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("panel").exception("swallowed")""",
    "a finaliser": """\
class Loud:
    def __del__(self): 1 / 0
loud = Loud()
del loud""",
    "the cell itself": "1 / 0",
}

GOOD = {
    "arithmetic": "1 + 1",
    "a thread that ends well": "import threading; threading.Thread(target=lambda: None).start()",
    "a thread that runs on": """\
import threading
stop = threading.Event()
threading.Thread(target=stop.wait, args=(5,), daemon=True).start()""",
    "an error that is caught": """\
try:
    1 / 0
except ZeroDivisionError:
    pass""",
    "a future whose error is asked for": """\
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor() as pool:
    future = pool.submit(lambda: 1 / 0)
assert isinstance(future.exception(), ZeroDivisionError)""",
    "a task whose error is awaited": """\
import asyncio
async def fail(): 1 / 0
try:
    await asyncio.create_task(fail())
except ZeroDivisionError:
    pass""",
    "a task that is cancelled": """\
import asyncio
task = asyncio.create_task(asyncio.sleep(60))
task.cancel()
await asyncio.sleep(0.01)""",
    "a warning in the log": """import logging; logging.getLogger("panel").warning("no traceback")""",
}


@pytest.fixture(scope="module")
def kernel() -> Iterator[BlockingKernelClient]:
    manager = KernelManager()
    manager.start_kernel(env={**os.environ, "IPYTHONDIR": str(IPYTHONDIR)})
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=250)
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    manager.cleanup_resources()


@pytest.mark.parametrize("what", BAD)
def test_a_swallowed_error_fails_its_cell(kernel: BlockingKernelClient, what: str) -> None:
    reply = kernel.execute_interactive(BAD[what], timeout=250, output_hook=lambda _: None)["content"]
    assert reply["status"] == "error"
    assert "ZeroDivisionError" in "\n".join(reply["traceback"])
    after = kernel.execute_interactive("'the next cell is not blamed'", timeout=250, output_hook=lambda _: None)
    assert after["content"]["status"] == "ok"


@pytest.mark.parametrize("what", GOOD)
def test_a_good_cell_stays_green(kernel: BlockingKernelClient, what: str) -> None:
    reply = kernel.execute_interactive(GOOD[what], timeout=250, output_hook=lambda _: None)["content"]
    assert reply["status"] == "ok", "\n".join(reply.get("traceback", []))


AWAY = {
    "an address": 'socket.create_connection(("192.0.2.1", 80), timeout=5)',
    "a name": 'socket.create_connection(("elsewhere.invalid", 80), timeout=5)',
    "a page": 'urllib.request.urlopen("http://elsewhere.invalid/", timeout=5)',
}
NEAR = """\
with socket.socket() as server:
    server.bind(("127.0.0.1", 0))
    server.listen()
    socket.create_connection(("localhost", server.getsockname()[1]), timeout=5).close()"""


@pytest.mark.parametrize("what", AWAY)
def test_there_is_no_network(kernel: BlockingKernelClient, what: str) -> None:
    cell = f"import socket, urllib.request\n{AWAY[what]}"
    reply = kernel.execute_interactive(cell, timeout=250, output_hook=lambda _: None)["content"]
    assert reply["status"] == "error" and "a test kernel has no network" in "\n".join(reply["traceback"])


def test_this_machine_can_be_reached(kernel: BlockingKernelClient) -> None:
    reply = kernel.execute_interactive(f"import socket\n{NEAR}", timeout=250, output_hook=lambda _: None)["content"]
    assert reply["status"] == "ok", "\n".join(reply.get("traceback", []))


def test_nbmake_goes_by_it(tmp_path: Path) -> None:
    write_notebook(tmp_path / "good.ipynb", GOOD["arithmetic"], GOOD["an error that is caught"])
    write_notebook(tmp_path / "bad.ipynb", BAD["a thread"])
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbmake", "-p", "no:cacheprovider", "-rA", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "IPYTHONDIR": str(IPYTHONDIR)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 failed, 1 passed" in run.stdout, run.stdout
    assert "ZeroDivisionError" in run.stdout and "FAILED bad.ipynb" in run.stdout
