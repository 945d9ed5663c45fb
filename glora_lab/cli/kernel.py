"""A kernel, started as JupyterLab starts one, and asked how it behaves.

What decides whether Stop works in a panel is measured, not looked up: a message like a button's is sent while a cell
runs. ipykernel has changed its answer between versions, so that a list of versions would be wrong by next year.
"""

from __future__ import annotations

import json
import queue
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

TARGET = "glora-lab-doctor"
PREPARE = f"""
import json, sys, time, ipykernel
answered = []
get_ipython().kernel.comm_manager.register_target(
    {TARGET!r}, lambda comm, _: comm.on_msg(lambda _: answered.append(time.monotonic())))
print(json.dumps([sys.executable, ipykernel.__version__]))
"""
BUSY = """
end = time.monotonic() + 1.5
while time.monotonic() < end:
    time.sleep(0.01)
print(json.dumps(bool(answered)))
"""
PRESS_AFTER = 0.4  # seconds into the busy cell


@dataclass(frozen=True)
class Kernel:
    """`executable` is its Python, `seconds` what it took to start, `answers` whether it does so while a cell runs."""

    executable: str
    version: str
    seconds: float
    answers: bool


def try_kernel(seconds: float = 60) -> Kernel:
    """Start the Python kernel, ask it, and shut it down.

    Raises:
        Exception: whatever keeps it from starting or answering within the time.
    """
    from jupyter_client.manager import start_new_kernel

    began = time.monotonic()
    manager, client = start_new_kernel(startup_timeout=seconds, kernel_name="python3", stderr=subprocess.DEVNULL)
    try:
        executable, version = _run(client, PREPARE, seconds)
        took = time.monotonic() - began
        return Kernel(executable, version, took, _answers_while_busy(client, seconds))
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def _run(client: Any, code: str, seconds: float, on_message: Callable[[dict[str, Any]], None] | None = None) -> Any:
    """What the code prints, read as JSON; `on_message` is told of each message while it runs."""
    out: list[str] = []

    def keep(message: dict[str, Any]) -> None:
        if on_message is not None:
            on_message(message)
        if message["msg_type"] == "stream" and message["content"]["name"] == "stdout":
            out.append(message["content"]["text"])

    reply = client.execute_interactive(code, store_history=False, timeout=seconds, output_hook=keep)
    if reply["content"]["status"] != "ok":
        raise RuntimeError(f"{reply['content']['ename']}: {reply['content']['evalue']}")
    return json.loads("".join(out))


def _answers_while_busy(client: Any, seconds: float) -> bool:
    """Send what a button sends, on a subshell where the kernel has them, as JupyterLab does."""
    client.shell_channel.send(client.session.msg("comm_open", {"comm_id": TARGET, "target_name": TARGET, "data": {}}))
    press = client.session.msg("comm_msg", {"comm_id": TARGET, "data": {}})
    subshell = _subshell(client)
    if subshell:
        press["header"]["subshell_id"] = subshell

    def press_it(message: dict[str, Any]) -> None:
        if message["msg_type"] == "execute_input":
            time.sleep(PRESS_AFTER)
            client.shell_channel.send(press)

    return bool(_run(client, BUSY, seconds, press_it))


def _subshell(client: Any) -> str | None:
    info = client.kernel_info(reply=True, timeout=10)["content"]
    if "kernel subshells" not in info.get("supported_features", ()):
        return None
    client.control_channel.send(client.session.msg("create_subshell_request"))
    try:
        return client.get_control_msg(timeout=10)["content"].get("subshell_id")
    except queue.Empty:
        return None
