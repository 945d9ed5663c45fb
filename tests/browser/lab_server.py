"""A JupyterLab of its own for the browser tests: a temporary root, strict kernels, nothing saved or asked."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

STRICT_PROFILE = Path(__file__).parents[1] / "strict_kernel" / "profile_default"

# News would ask the network, autosave would write while a test looks, and a cell outside the window has to
# be in the page to be found.
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "docmanager-extension/plugin": {"autosave": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}


class LabServer:
    """Started by `with`, stopped at its end; `url` is where it answers, `root` the folder it shows."""

    def __init__(self, home: Path) -> None:
        self.root = home / "root"
        self.log = home / "jupyterlab.log"
        self._home = home
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> LabServer:
        self.root.mkdir()
        shutil.copytree(STRICT_PROFILE, self._home / "ipython" / "profile_default")
        for name, values in SETTINGS.items():
            file = self._home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(values))
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                self._command(), env=self.environment(), stdout=log, stderr=log, start_new_session=True
            )
        try:
            self._wait_until_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)

    def add(self, notebook: Path, name: str) -> str:
        """A copy of the notebook in a folder of its own: the tracked file stays as it is."""
        copy = self.root / name / notebook.name
        copy.parent.mkdir()
        shutil.copy(notebook, copy)
        return str(copy.relative_to(self.root))

    def _command(self) -> list[str]:
        options = {
            "ServerApp.ip": "127.0.0.1",
            "ServerApp.port": self._port,
            "ServerApp.port_retries": 0,
            "ServerApp.root_dir": self.root,
            "ServerApp.allow_root": True,
            "ServerApp.open_browser": False,
            "ServerApp.disable_check_xsrf": True,
            "IdentityProvider.token": "",
            "LabApp.expose_app_in_browser": True,
        }
        return [sys.executable, "-m", "jupyterlab", *(f"--{name}={value}" for name, value in options.items())]

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "IPYTHONDIR": str(self._home / "ipython"),
            "JUPYTER_CONFIG_DIR": str(self._home / "config"),
            "JUPYTER_RUNTIME_DIR": str(self._home / "runtime"),
            "JUPYTERLAB_SETTINGS_DIR": str(self._home / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(self._home / "workspaces"),
            "OMP_NUM_THREADS": "1",
        }

    def _wait_until_up(self, seconds: float = 300) -> None:
        deadline = time.monotonic() + seconds
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{self.url}/api/status", timeout=60).close()
                return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError(f"JupyterLab did not come up:\n{self.log.read_text()[-3000:]}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
