"""The runs as the package carries them: what the journal has, read and written, and one of them made anew."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from importlib import resources
from pathlib import Path
from typing import Any

from glora_lab.folders import replacing
from glora_lab.ideas.real.record import RealRun, RealRuns

from . import changes, merging
from .arms import SEARCHED
from .queue import CHANGES, DRIFT, RATES, SEARCH
from .run import BATCH, MODEL, STEPS, TASK, run
from .searching import MODES, RANKS, found_config
from .searching import SEARCH as SEARCH_ARGUMENTS

FILE = "runs.json"
FILES = {CHANGES: changes.FILE, DRIFT: merging.FILE}
NAMES = tuple(field.name for field in fields(RealRun))


def stored_runs() -> RealRuns:
    """As they lie in the package."""
    return read_runs(json.loads((resources.files("glora_lab.real") / FILE).read_text(encoding="utf-8")))


def read_runs(held: Mapping[str, Any]) -> RealRuns:
    runs = [dict(zip(NAMES, row, strict=True)) for row in held["runs"]]
    return RealRuns(tuple(_run(row) for row in runs), held["made"])


def runs_of(lines: Iterable[Mapping[str, Any]]) -> RealRuns:
    """What the lines of a journal come to."""
    lines = list(lines)
    runs = tuple(_run(line["run"]) for line in lines if "run" in line)
    machines = [line["machine"] for line in lines]
    counted = [{**one, "lines": machines.count(one)} for n, one in enumerate(machines) if machines.index(one) == n]
    found = next((line["result"] for line in lines if line.get("once") == SEARCH), None)
    search = {**SEARCH_ARGUMENTS, "modes": MODES, "ranks": RANKS, "found": found}
    what: dict[str, Any] = {"model": MODEL, "task": TASK, "steps": steps_of(lines), "batch": BATCH, "rates": RATES}
    return RealRuns(runs, {**what, "search": search, "machines": counted})


def steps_of(lines: Iterable[Mapping[str, Any]]) -> int:
    """The steps of every run of a journal; what a run has where there is none yet."""
    return next((int(line["steps"]) for line in lines), STEPS)


def once_of(lines: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What was made once, by name."""
    return {line["once"]: line["result"] for line in lines if "once" in line}


def store(lines: Iterable[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Write what the journal has into `folder`, each file whole; which."""
    lines = list(lines)
    runs, once = runs_of(lines), once_of(lines)
    texts = {FILE: _runs_written(runs)}
    for name, file in FILES.items():
        if name in once:
            texts[file] = _pretty({"made": dict(runs.made), **once[name]})
    with replacing(folder) as there:
        for file, text in texts.items():
            (there / file).write_text(text, encoding="utf-8")
    return [folder / file for file in texts]


def rerun(arm: str, budget: int = 0, seed: int = 0, *, stored: RealRuns | None = None) -> RealRun:
    """One of the stored runs made anew, at the rate that was best, without the validation part.

    `stored_runs().cell(arm, budget).holds(rerun(arm, budget).test)` says whether it is where the stored ones are. LoRA
    at 8 takes about half a minute of one core, the largest arms a whole one.

    Raises:
        ValueError: for an arm and a budget that were not run.
        ImportError: where minilm is not installed.
    """
    stored = stored_runs() if stored is None else stored
    cell = stored.cell(arm, budget)
    found = stored.made["search"]["found"]
    config = found_config(found["found"], budget) if arm == SEARCHED else None
    return run(arm, budget, cell.lr, seed, found=config, validated=False, steps=stored.made["steps"])


def _run(row: Mapping[str, Any]) -> RealRun:
    numbers: dict[str, Any] = {name: math.nan if row[name] is None else row[name] for name in NAMES}
    return RealRun(**numbers)


def _runs_written(runs: RealRuns) -> str:
    """A line for each run."""
    rows = ",\n".join(json.dumps(list(map(_plain, asdict(run).values()))) for run in runs.runs)
    return f'{{"columns": {json.dumps(NAMES)},\n"runs": [\n{rows}\n],\n"made": {_pretty(dict(runs.made)).strip()}}}\n'


def _pretty(held: Mapping[str, Any]) -> str:
    """A line for each entry of a list of entries."""
    lines = []
    for name, value in held.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            text = "[\n" + ",\n".join(json.dumps(one, ensure_ascii=False) for one in value) + "\n]"
        else:
            text = json.dumps(value, ensure_ascii=False)
        lines.append(f"{json.dumps(name)}: {text}")
    return "{" + ",\n".join(lines) + "}\n"


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
