"""Runs that last: a folder with a line for each run, and its adapter and curves beside.

Decisions. `runs.jsonl` is only ever added to, a line at a time, in one call that the system appends whole: so two
kernels share it without a lock, and a process that is killed in mid-write costs its own line. Each line has a line
break on either side, so that a torn one swallows no other. The line comes last: an adapter without one belongs to a
run that was being written when its process ended. Renaming and deleting are lines too, and what was deleted stays on
the disk for a day, so that it can be taken back.
"""

from __future__ import annotations

import csv
import json
import os
import re
import secrets
import shutil
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from errno import ENOSPC
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from glora_lab.arguments import refuse
from glora_lab.folders import folder_named, replacing
from glora_lab.ideas.training.record import Run, Step

DEFAULT, SWITCH = "glora_lab_runs", "GLORA_LAB_RUNS"  # the switch, in the environment, names another, or says "off"
LINES, CURVES, TABLE = "runs.jsonl", "curves.safetensors", "runs.csv"
ID = re.compile(r"run-\d{8}-\d{6}-[0-9a-f]{6}")
LONGEST_NAME = 100  # characters
A_DAY = 86_400.0  # seconds
COLUMNS = {"index": np.int64, "loss": np.float64, "metric": np.float64, "seconds": np.float64, "measured": np.bool_}
KEPT: Mapping[str, Any] = {
    "name": str, "model": str, "task": str, "params": int, "metric": (int, float), "seconds": (int, float),
    "validation": (int, float), "examples": int, "taken": int, "settings": dict,
}  # fmt: skip


def runs_place(keep_runs: bool | str | os.PathLike[str]) -> Path | None:
    """The folder that a panel's argument means: False none, True the usual one, or none where Voilà serves strangers.

    Raises:
        ValueError: where a name can be no folder here.
    """
    name = os.environ.get(SWITCH, DEFAULT) if keep_runs is True else keep_runs
    shared = os.environ.get("SERVER_SOFTWARE", "").startswith("voila/")
    if name is False or (keep_runs is True and (name == "off" or shared)):
        return None
    folder = Path(folder_named("keep_runs", name))
    if folder.is_file():
        raise refuse("keep_runs", name, "must be a folder, or True or False; there is a file of that name")
    return folder.absolute()


def new_id() -> str:
    """Says when, and is nobody else's."""
    return f"run-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"


class RunFolder:
    """The runs of a folder, read anew where somebody has written. `damaged` counts lines that could not be read.

    Args:
        path: made with the first run. None keeps runs in memory, without their adapters.
    """

    def __init__(self, path: Path | None) -> None:
        self.path, self.damaged = path, 0
        self._runs: dict[str, Run] = {}
        self._deleted: dict[str, float] = {}  # id → when
        self._steps: dict[str, tuple[Step, ...]] = {}
        self._read = 0  # bytes of the lines

    @property
    def runs(self) -> list[Run]:
        """Oldest first, without their steps and without those that were deleted."""
        self._look()
        return [run for run in self._runs.values() if run.id not in self._deleted]

    def add(self, run: Run, model: Any) -> None:
        """Keep a run, under an id of `new_id`, with its steps and the adapter that `model` saves.

        Raises:
            OSError: where the folder cannot be written. The run is kept in memory then.
        """
        self._steps[run.id] = run.steps
        line = {"run": run.id, **{name: getattr(run, name) for name in KEPT}, "taken": len(run.steps)}
        try:
            if self.path is not None:
                self._clear()
                with replacing(self.path / run.id) as new, warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of what PEFT looks for beside an adapter
                    model.save_pretrained(str(new))
                    save_file(_columns(run.steps), new / CURVES)
            self._tell(line)
        except (OSError, SafetensorError) as error:
            self._take(line)
            raise OSError(f"{self.path} cannot be written: {error}") from error

    def rename(self, run: Run, name: str) -> None:
        """ValueError for no name, a very long one, or another run's."""
        if not name.strip() or len(name) > LONGEST_NAME:
            raise refuse("name", name, f"must be a name of at most {LONGEST_NAME} characters")
        if any(other.name == name.strip() and other.id != run.id for other in self.runs):
            raise refuse("name", name, "must be no other run's name")
        self._tell({"renamed": run.id, "name": name.strip()})

    def delete(self, runs: Sequence[Run]) -> None:
        self._tell({"deleted": [run.id for run in runs], "at": time.time()})

    def restore(self, runs: Sequence[Run]) -> None:
        """Take a deletion back."""
        self._tell({"restored": [run.id for run in runs]})

    def steps(self, run: Run) -> tuple[Step, ...]:
        """A run's steps; none where its curves are gone. ValueError where they are damaged."""
        if run.id not in self._steps and self.path is not None:
            file = self.path / run.id / CURVES
            try:
                columns = load_file(file) if file.is_file() else {name: np.zeros(0) for name in COLUMNS}
                rows = zip(*(columns[name].tolist() for name in COLUMNS), strict=True)
                self._steps[run.id] = tuple(Step(*row) for row in rows)
            except (SafetensorError, KeyError, ValueError, OSError) as error:
                raise ValueError(f"{file} is damaged: the curves of {run.name} cannot be drawn ({error})") from error
        return self._steps.get(run.id, ())

    def export(self, runs: Sequence[Run]) -> Path:
        """The runs as a CSV file in the folder, or in the working directory where there is none."""
        names = [name for name in ("id", *KEPT) if name != "settings"]
        settings = list(dict.fromkeys(key for run in runs for key in run.settings))
        folder = self.path or Path.cwd()
        with replacing(folder) as new, (new / TABLE).open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow([{"metric": "test"}.get(name, name) for name in names] + settings)
            for run in runs:
                table.writerow([getattr(run, name) for name in names] + [run.settings.get(key) for key in settings])
        return folder / TABLE

    def _tell(self, event: dict[str, Any]) -> None:
        """Add a line, and whatever others have added meanwhile."""
        if self.path is None:
            self._take(event)
            return
        line = f"\n{json.dumps(event, default=_plain)}\n".encode()
        self.path.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path / LINES, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        try:
            if os.write(file, line) < len(line):
                raise OSError(ENOSPC, os.strerror(ENOSPC), str(self.path / LINES))
            os.fsync(file)
        finally:
            os.close(file)
        self._look()

    def _look(self) -> None:
        """Read what was added; a last line without its end is still being written, or torn."""
        if self.path is None or not (self.path / LINES).is_file():
            return
        with (self.path / LINES).open("rb") as file:
            if file.seek(0, os.SEEK_END) < self._read:  # it is another file
                self._read, self.damaged = 0, 0
            file.seek(self._read)
            added = file.read()
        whole = added[: added.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in filter(None, whole.splitlines()):
            try:
                self._take(json.loads(line))
            except (ValueError, TypeError, KeyError, RecursionError):
                self.damaged += 1

    def _take(self, event: dict[str, Any]) -> None:
        if "run" in event:
            kept = {name: _checked(event[name], kind) for name, kind in KEPT.items()}
            run = Run(id=_checked_id(event["run"]), **kept)
            self._runs.setdefault(run.id, run)
        elif "renamed" in event:
            self._runs[event["renamed"]] = replace(self._runs[event["renamed"]], name=_checked(event["name"], str))
        elif "deleted" in event:
            at = float(event["at"])
            self._deleted |= {_checked_id(name): at for name in event["deleted"]}
        else:
            for name in event["restored"]:
                self._deleted.pop(name, None)

    def _clear(self) -> None:
        """Take what was deleted more than a day ago from the disk."""
        assert self.path is not None
        for name, at in self._deleted.items():
            if time.time() - at > A_DAY:
                shutil.rmtree(self.path / name, ignore_errors=True)


def _columns(steps: Sequence[Step]) -> dict[str, np.ndarray]:
    return {name: np.array([getattr(step, name) for step in steps], dtype=kind) for name, kind in COLUMNS.items()}


def _plain(value: Any) -> Any:
    """What JSON cannot say, of a configuration: a set as a list, anything else in words."""
    return sorted(value, key=str) if isinstance(value, set | frozenset) else str(value)


def _checked(value: Any, kind: Any) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"{value!r} is no {kind}")
    return value


def _checked_id(value: Any) -> str:
    """It names a folder: nothing else may."""
    if not ID.fullmatch(_checked(value, str)):
        raise ValueError(f"{value!r} is no run's id")
    return str(value)
