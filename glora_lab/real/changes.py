"""What full fine-tuning changed in minilm's 36 matrices, and the stored record of it."""

from __future__ import annotations

import json
import re
from importlib import resources
from typing import Any

from torch import nn

from glora_lab.ideas.real.measure_changes import matrix_change
from glora_lab.ideas.real.record import RealRuns
from glora_lab.ideas.real.record_changes import MatrixChange, RealChanges

from .arms import LAYERS
from .run import real_model, trained_model

FILE = "changes.json"
FIGURES = 4


def measured_changes(runs: RealRuns, steps: int) -> dict[str, Any]:
    """The first seed's training anew at the rate that was best, and of every matrix what is stored."""
    lr = runs.cell("full fine-tuning").lr
    before, after = _matrices(real_model()), _matrices(trained_model("full fine-tuning", 0, lr, 0, steps=steps))
    rows = [matrix_change(name, (after[name] - before[name]).numpy()) for name in before]
    return {"lr": lr, "matrices": [_written(row) for row in rows]}


def stored_changes() -> RealChanges:
    """As it lies in the package."""
    text = (resources.files("glora_lab.real") / FILE).read_text(encoding="utf-8")
    return read_changes(json.loads(text))


def read_changes(held: dict[str, Any]) -> RealChanges:
    rows = [{**row, "shape": tuple(row["shape"]), "values": tuple(row["values"])} for row in held["matrices"]]
    for row in rows:
        row["energy"] = {int(n): share for n, share in row["energy"].items()}
        row["errors"] = {_pair(name): error for name, error in row["errors"].items()}
    return RealChanges(tuple(MatrixChange(**row) for row in rows), held["made"] | {"lr": held["lr"]})


def _written(row: MatrixChange) -> dict[str, Any]:
    return {
        "layer": row.layer,
        "shape": row.shape,
        "values": [_short(value) for value in row.values],
        "energy": {n: _short(share) for n, share in row.energy.items()},
        "slope": _short(row.slope),
        "errors": {f"k={k} r={r}": _short(error) for (k, r), error in row.errors.items()},
    }


def _short(number: float) -> float:
    return float(f"{number:.{FIGURES}g}")


def _pair(name: str) -> tuple[int, int]:
    k, r = map(int, re.findall(r"\d+", name))
    return k, r


def _matrices(model: nn.Module) -> dict[str, Any]:
    """The weights of the layers that are adapted, by a name without the model's own."""
    return {
        re.sub(r".*layer\.", "", name): module.weight.detach().cpu().double()
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and re.fullmatch(LAYERS, name)
    }
