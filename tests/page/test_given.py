"""What a panel cannot be made with is said in words, argument, value and rule, and leaves no widget."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from torch import nn

from glora_lab import panels
from tests.browser.all_panels import PANELS
from tests.page.instances import INSTANCES

NO_COUNT = [0, -1, 2.5, "4", None, True]
NO_MODEL = [3, ["digits-vit"], nn.ReLU()]
WRONG: dict[str, dict[str, list[Any]]] = {
    "PathPanel": {"model": [*NO_MODEL, "digits-vit"], "layer": [3, "zzz", ""], "rank": [*NO_COUNT, 1000]},
    "BudgetPanel": {"model": [3, "llama", "", object()]},
    "TrainPanel": {
        "model": [3, None, "no such model"],
        "task": [3, "zzz"],
        "method": ["zzz", None],
        "methods": [3, {"mine": 3}, {"": None}, ["mine"]],
        "preset": ["zzz", None],
        "rank": NO_COUNT,
        "k": NO_COUNT,
        "lr": [0, -1.0, "0.1", None, float("nan"), float("inf")],
        "steps": NO_COUNT,
        "seed": [-1, 2**31, 0.5, "1", None],
        "keep_runs": [3, None, "", __file__],
    },
    "BlockPanel": {
        "model": [*NO_MODEL, "digits-vit"],
        "layer": [3, "zzz"],
        "k": [*NO_COUNT, 3],
        "r": [*NO_COUNT, 6],
        "hybrid_r": [-1, 0.5, "1", None],
        "session": [3, "session"],
    },
    "EntanglementPanel": {
        "model": NO_MODEL,
        "batch": [3, "batch"],
        "loss": [3],
        "layer": [3, "zzz"],
        "task": [3, "zzz"],
        "size": NO_COUNT,
        "rank": NO_COUNT,
        "k": NO_COUNT,
        "seed": [-1, 0.5, None],
    },
    "OutlierPanel": {
        "model": [3, "no such model"],
        "batch": [3, "batch"],
        "loss": [3],
        "task": [3, "zzz"],
        "layer": [3, "zzz"],
        "rank": NO_COUNT,
        "k": NO_COUNT,
        "seed": [-1, 0.5, None],
    },
    "ReachPanel": {"changes": [nn.Linear(8, 8), 3, "Gaussian", [], [3], np.ones((8, 8)), {"a": 3}]},
    "XrayPanel": {"path_or_model": [3, ["folder"]], "base_model": [3, "digits-vit"]},
    "SearchPanel": {
        "model": [3, None, "no such model"],
        "task": [3, "zzz"],
        "space": [3, "glora"],
        "study": [3, "study"],
        "method": [3, "zzz", None],
        "ranks": [3, [], "4"],
        "modes": [3, {"F": ["lora"]}],
        "per": ["zzz", None],
        "engine": ["zzz", None],
        "sampler": ["zzz", None],
        "limit": [0, -1, 2.5, "4", 10],
        "trials": NO_COUNT,
        "gate": [-1, 1, 2.5, None],
        "steps": NO_COUNT,
        "lr": [0, -1.0, "0.1", None, float("nan"), float("inf")],
        "seed": [-1, 2**31, 0.5, "1", None],
        "keep_runs": [3, None, "", __file__],
    },
    "MergePanel": {"model": [*NO_MODEL, "digits-vit"], "layer": [3, "zzz"], "cycles": NO_COUNT},
}
CASES = [
    (panel, argument, value) for panel, wrong in WRONG.items() for argument, values in wrong.items() for value in values
]
ELSE = {"k": "gralora_k", "r": "gralora_k", "model": "name_or_path"}  # said where it was found out


def test_every_argument_of_every_panel_is_asked() -> None:
    assert set(WRONG) == set(PANELS)
    for name, wrong in WRONG.items():
        arguments = list(inspect.signature(getattr(panels, name)).parameters)
        assert set(wrong) == set(arguments), name


@pytest.mark.parametrize(
    ("panel", "argument", "value"), CASES, ids=lambda part: part if isinstance(part, str) else repr(part)[:20]
)
def test_it_is_refused_in_words(panel: str, argument: str, value: Any) -> None:
    before = set(INSTANCES)
    with pytest.raises((ValueError, TypeError)) as refusal:
        getattr(panels, panel)(**{argument: value})
    says = str(refusal.value)
    assert any(f"`{name}` (" in says for name in (argument, ELSE.get(argument))), says
    assert "must" in says or "is no" in says, says
    told = type(value).__name__ if isinstance(value, nn.Module) or type(value) is object else repr(value)[:40]
    assert told in says, says
    assert set(INSTANCES) - before == set()
