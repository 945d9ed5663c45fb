"""A journal file that outlives what is killed: Optuna's, with a lock that ends with its holder, and torn lines mended.

Optuna's own lock is a file that a killed process leaves behind, for which everybody then waits 30 s; here the
operating system holds it. A process that is killed while it writes leaves part of a line, and the next line would be
written right behind it, which no reader could read again: whoever writes next cuts the part off first, and where
somebody has written behind it already, readers take up what was.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from glora_lab.extras import needed

needed("a search", "optuna", extra="search")
from optuna.storages.journal import JournalFileBackend  # noqa: E402

LOCK = ".in-use"  # Optuna's is ".lock", and a link to the journal itself
PATIENCE = 30.0  # seconds for a holder that lives and does not let go
START = b'{"op_code"'


class JournalFile(JournalFileBackend):
    """What `JournalStorage` writes to; `path` is made where it is missing.

    Raises:
        TimeoutError: where another process has held the file for 30 s.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path, self._held = path, FileLock(f"{path}{LOCK}", timeout=PATIENCE)
        self._starts = [0]  # of each line that is whole, in bytes

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        with self._path.open("rb") as file:
            file.seek(self._starts[log_number_from])
            whole, newline, _ = file.read().rpartition(b"\n")  # behind it, what is being written, or was when killed
        at, number = self._starts[log_number_from], log_number_from
        for line in (whole + newline).splitlines(keepends=True):
            at += len(line)
            if (log := _read(line)) is None:
                continue
            number += 1
            del self._starts[number:]
            self._starts.append(at)
            yield log

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        try:
            with self._held, self._path.open("r+b") as file:
                _cut_off_what_is_torn(file)
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
        except Timeout:
            raise TimeoutError(f"{self._path} has been held by another process for {PATIENCE:.0f} s") from None


def is_journal(path: Path) -> bool:
    """Whether a file is a journal, or empty; nothing is written into others."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return START.startswith(file.read(len(START)))


def _read(line: bytes) -> dict[str, Any] | None:
    """What a line says; behind a torn one, what was written there later; None where that is nothing."""
    for part in (line, line[max(0, line.rfind(START)) :]):
        try:
            log = json.loads(part)
        except ValueError:
            continue
        return log if isinstance(log, dict) and "op_code" in log else None
    return None


def _cut_off_what_is_torn(file: Any) -> None:
    """Leave the file at the end of its last whole line."""
    end = file.seek(0, os.SEEK_END)
    while end:
        back = min(end, 1 << 16)
        file.seek(end - back)
        found = file.read(back).rfind(b"\n")
        end += found + 1 - back if found >= 0 else -back
        if found >= 0:
            break
    file.seek(end)
    file.truncate()
