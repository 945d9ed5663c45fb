"""What merging the trained adapters into minilm's weights in bfloat16 loses, and the stored record of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from importlib import resources
from statistics import fmean
from typing import Any

from glora_lab.ideas.merging.measure import merge_report
from glora_lab.ideas.real.record import RealRuns
from glora_lab.ideas.real.record_drift import DriftRow, RealDrift

from .queue import BUDGET, MERGED
from .run import trained_model

FILE = "drift.json"
CYCLES = (1, 10, 100)


def measured_drift(runs: RealRuns, steps: int) -> dict[str, Any]:
    """Each method's training of the first seed anew, at the middle budget and its best rate, merged in bfloat16."""
    rows = []
    for arm in MERGED:
        model = trained_model(arm, BUDGET, runs.cell(arm, BUDGET).lr, 0, steps=steps).cpu()
        rows += [asdict(row) for row in drift_rows(arm, model)]
    return {"budget": BUDGET, "rows": rows}


def drift_rows(arm: str, model: Any, cycles: tuple[int, ...] = CYCLES) -> Iterator[DriftRow]:
    """A row for each library that can hold the adapter."""
    report = merge_report(model, cycles=max(cycles), dtype="bfloat16")
    for by in report.libraries:
        drift = report.drift(by)
        effect = fmean(row.effect for row in report.of(by))
        errors = [report.error(by, state) for state in ("unmerged", "merged")]
        yield DriftRow(arm, by, {n: float(drift[n]) for n in cycles}, report.changed(by), effect, *errors)


def stored_drift() -> RealDrift:
    """As it lies in the package."""
    text = (resources.files("glora_lab.real") / FILE).read_text(encoding="utf-8")
    return read_drift(json.loads(text))


def read_drift(held: dict[str, Any]) -> RealDrift:
    rows = [{**row, "drift": {int(n): off for n, off in row["drift"].items()}} for row in held["rows"]]
    return RealDrift(tuple(DriftRow(**row) for row in rows), held["made"] | {"budget": held["budget"]})
