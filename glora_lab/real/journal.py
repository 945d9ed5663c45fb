"""A line of JSON for each run, written in one go, so that a script that is killed goes on where it was.

A line that was cut off by the end of a process is no line: it is taken away before the next is written.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Journal:
    """The lines of a file, dicts all; one process writes. nan is stored as null."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if self.file.exists():
            yield from map(json.loads, self.file.read_text(encoding="utf-8").split("\n")[:-1])

    def add(self, line: dict[str, Any]) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        held = {name: None if isinstance(v, float) and math.isnan(v) else v for name, v in line.items()}
        text = (json.dumps(held, ensure_ascii=False) + "\n").encode()
        with self.file.open("a+b", buffering=0) as file:
            self._cut_what_is_no_line(file.fileno())
            file.write(text)
            os.fsync(file.fileno())

    def _cut_what_is_no_line(self, descriptor: int) -> None:
        written = self.file.read_bytes()
        os.ftruncate(descriptor, written.rfind(b"\n") + 1)
