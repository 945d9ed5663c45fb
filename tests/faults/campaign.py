"""Kill every writer of this package and ask every reader what it finds: `python -m tests.faults.campaign`.

A table is printed, and a line of JSON: writer → its kills, what was found how often, and what was found besides the
old adapter, the new one and a refusal in words, which is nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import peft
import torch
from torch import Tensor, nn
from transformers.utils import logging

from tests.faults.killing import Write, killed_at_every_step, killed_at_random, killed_in_mid_write

KILLS = 60  # of each writer, at least
MINE, OVER_NOTHING = "notes.txt", ", in an empty place"
TARGETS = ["encoder", "decoder"]
VERDICTS = ("old", "new", "refused")
Read = Callable[[Path], Any]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.decoder = nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(torch.tanh(self.encoder(x)))


X = torch.randn(3, 8, generator=torch.Generator().manual_seed(3))


def outputs(model: Any) -> list[float]:
    with torch.no_grad():
        return [round(value, 4) + 0.0 for value in model.eval()(X).flatten().tolist()]


class PlainPeft:
    """PEFT in a process that has never imported this library."""

    def __init__(self) -> None:
        assert not [name for name in sys.modules if name.startswith("glora_lab")]
        asks, self._ask = os.pipe()
        self._answer, answers = os.pipe()
        self._child = os.fork()
        if not self._child:
            os.close(self._ask)  # or it would wait for itself
            with os.fdopen(asks) as questions, os.fdopen(answers, "w") as out:
                for line in questions:
                    print(json.dumps(ask(self._load, Path(line.rstrip("\n")))), file=out, flush=True)
            os._exit(0)
        os.close(asks)
        os.close(answers)
        self._answers = os.fdopen(self._answer)

    @staticmethod
    def _load(folder: Path) -> list[float]:
        return outputs(peft.PeftModel.from_pretrained(Net(), folder))

    def __call__(self, folder: Path) -> Any:
        os.write(self._ask, f"{folder}\n".encode())
        found = json.loads(self._answers.readline())
        if isinstance(found, str):
            raise ValueError(found)
        return found

    def close(self) -> None:
        os.close(self._ask)
        os.waitpid(self._child, 0)


def ask(read: Read, folder: Path) -> Any:
    """What a reader finds, or the words in which it refuses: ours and PEFT's a ValueError, transformers' an OSError."""
    try:
        return read(folder)
    except (ValueError, OSError) as refusal:
        return str(refusal)


class Campaign:
    """One writer killed over what it wrote before, and over nothing."""

    def __init__(self, old: Write, new: Write, readers: Mapping[str, Read], folder: Path) -> None:
        self.new, self.readers, self.outside = new, readers, list[str]()
        self.kills, self.found, self._judged = 0, Counter[str](), dict[str, list[str]]()
        self._before, after, self._place, self._again = (
            folder / name for name in ("before", "after", "place", "again")
        )
        self._before.mkdir()
        (self._before / MINE).write_text("mine")
        old(self._before)
        shutil.copytree(self._before, after)
        new(after)
        self._known = {
            name: {str(read(self._before)): "old", str(read(after)): "new"} for name, read in readers.items()
        }
        assert all(len(values) == 2 for values in self._known.values()), "old and new read alike"
        lengths = [path.stat().st_size for path in after.rglob("*") if path.is_file()]
        self._sizes = {0, 1, *(size // 2 for size in lengths), *(size - 1 for size in lengths)}

    def run(self) -> dict[str, Any]:
        for where in self._every_kill():
            self.kills += 1
            if not (self._place / MINE).exists() and not where.endswith(OVER_NOTHING):
                self.outside.append(f"{where}: {MINE} is gone")
            state = _state(self._place)
            if state not in self._judged:
                self._judged[state] = self._judge(where)
            self.found.update(self._judged[state])
        verdicts = {verdict: self.found[verdict] for verdict in VERDICTS}
        return {"kills": self.kills, "states": len(self._judged), **verdicts, "outside": self.outside}

    def _every_kill(self) -> Iterator[str]:
        """Where it was killed; at random as often as is still to come, and five times at least."""
        yield from killed_at_every_step(self.new, self._before, self._place)
        yield from (where + OVER_NOTHING for where in killed_at_every_step(self.new, None, self._place, stride=4))
        yield from killed_in_mid_write(self.new, self._before, self._place, self._sizes)
        yield from killed_at_random(self.new, self._before, self._place, max(5, KILLS - self.kills))

    def _judge(self, where: str) -> list[str]:
        """What each reader finds, and whether the writer can write again over what it left."""
        verdicts = {name: _verdict(ask(read, self._place), self._known[name]) for name, read in self.readers.items()}
        self.outside += [f"{where}: {name}: {one}" for name, one in verdicts.items() if one not in VERDICTS]
        shutil.rmtree(self._again, ignore_errors=True)
        if self._place.exists():
            shutil.copytree(self._place, self._again)
        self.new(self._again)
        later = {name: _verdict(ask(read, self._again), self._known[name]) for name, read in self.readers.items()}
        self.outside += [f"{where}, written again: {name}: {one}" for name, one in later.items() if one != "new"]
        return list(verdicts.values())


def _verdict(found: Any, known: Mapping[str, str]) -> str:
    if isinstance(found, str):
        return "refused" if 0 < len(found) <= 1000 else f"refused in {len(found)} characters"
    return known.get(str(found), f"something else: {str(found)[:80]}")


def _state(place: Path) -> str:
    """All that a reader may look at: what is not in a folder of its own of things to come."""
    files = sorted(path for path in place.rglob("*") if path.is_file() and ".saving-" not in str(path))
    return hashlib.sha256(
        repr([(str(path.relative_to(place)), path.read_bytes()) for path in files]).encode()
    ).hexdigest()


def main() -> None:
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    plain = PlainPeft()
    from tests.faults.writers import all_writers  # and with it this library

    met: dict[str, dict[str, Any]] = {}
    print(f"{'writer':32}{'kills':>8}{'states':>8}{'old':>8}{'new':>8}{'refused':>8}{'outside':>8}{'seconds':>8}")
    for name, (old, new, readers) in all_writers(plain).items():
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            one = met[name] = Campaign(old, new, readers, Path(folder)).run()
        row = [*(one[column] for column in ("kills", "states", *VERDICTS)), len(one["outside"])]
        print(f"{name:32}" + "".join(f"{count:8}" for count in row) + f"{time.monotonic() - began:8.1f}", flush=True)
    plain.close()
    print(json.dumps(met))


if __name__ == "__main__":
    main()
