"""Searches for tests: a panel whose engine takes few steps, and a search of two thousand trials that nobody made."""

from __future__ import annotations

import random
from typing import Any

import pytest

from glora_lab.models import load_model
from glora_lab.panels import SearchPanel
from glora_lab.records import Agreement, SearchResult, Trial
from glora_lab.search import SearchSpace
from glora_lab.search.engines import Inherited

MODEL = load_model("digits-vit")
SPACE = SearchSpace.of(MODEL)
GATE = Agreement("adapted", (0.1, 0.3, 0.2), (0.2, 0.5, 0.4), (10, 5, 30), 1.0, -0.33)


def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four steps of a supernet in place of three hundred."""
    monkeypatch.setattr(Inherited, "first", 2)
    monkeypatch.setattr(Inherited, "then", 2)


def panel(**settings: Any) -> SearchPanel:
    few = {"engine": "inherited", "trials": 12, "gate": 0, "steps": 4, "keep_runs": False}
    return SearchPanel(**{**few, **settings})


def found(count: int = 60, *, seed: int = 0) -> SearchResult:
    """Trials of `SPACE` whose accuracies rise with their parameters, more or less."""
    dice = random.Random(seed)
    trials = []
    for number in range(count):
        choice = tuple(dice.randrange(1, len(slot.options)) for slot in SPACE.slots)
        params = SPACE.params(choice)
        metric = 0.2 + 0.05 * params**0.25 + 0.1 * dice.random()
        trials.append(Trial(number, params, metric, 1.0, SPACE.written(choice), "adapted", 0.1))
    return SearchResult(tuple(trials), None, GATE)
