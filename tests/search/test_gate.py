"""What an engine is judged on: settings of all sizes, and Kendall's τ beside that of the count."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from glora_lab import load_model, load_task
from glora_lab.ideas.search.record import Agreement
from glora_lab.search import SearchSpace, search_paths
from glora_lab.search.engines import random_choice
from glora_lab.search.gate import spread_choices

MODEL = load_model("digits-vit")
SPACES = {
    "ranks of kinds": SearchSpace.of(MODEL),
    "ranks of layers": SearchSpace.of(MODEL, "lora", per="layer"),
    "paths of layers": SearchSpace.of(MODEL, modes="all", per="layer"),
    "blocks": SearchSpace.of(MODEL, "gralora"),
}


@pytest.mark.parametrize("limit", [None, 6000])
@pytest.mark.parametrize("name", SPACES)
def test_settings_are_of_all_sizes(name: str, limit: int | None) -> None:
    space = SPACES[name]
    choices = spread_choices(space, 12, 1, limit)
    sizes = [space.params(choice) for choice in choices]
    most = limit or space.params(space.largest)
    assert len(set(choices)) == 12 and all(map(space.fits, choices))
    assert sizes == sorted(sizes) and sizes[-1] <= most
    assert sizes[0] < most / 8 and sizes[-1] > most / 2
    assert sum(size < most / 3 for size in sizes) >= 3 and sum(size > most / 4 for size in sizes) >= 2


def test_drawn_uniformly_they_would_not_be() -> None:
    space, draw = SPACES["ranks of layers"], random.Random(1)
    sizes = [space.params(random_choice(space, draw)) for _ in range(12)]
    assert min(sizes) > space.params(space.largest) / 5


def test_of_blocks_every_k_is_met_at_every_size() -> None:
    space = SPACES["blocks"]
    choices = spread_choices(space, 60, 0)
    for part in (choices[:20], choices[20:40], choices[40:]):
        assert {site["k"] for choice in part for site in space.picked(choice).values()} == {1, 2, 4}


def test_they_are_drawn_by_the_seed_alone() -> None:
    space = SPACES["ranks of kinds"]
    assert spread_choices(space, 6, 3) == spread_choices(space, 6, 3) != spread_choices(space, 6, 4)


def test_a_space_of_few_settings_gives_those_that_it_has() -> None:
    space = SPACES["ranks of kinds"]
    least = space.params(space.smallest)
    smallest = spread_choices(space, 12, 0, least)
    assert 1 <= len(smallest) <= 4 and {space.params(choice) for choice in smallest} == {least}
    one = SearchSpace.of(MODEL, ranks=(1, 2), target_modules=["q_proj"])
    assert [one.params(choice) for choice in spread_choices(one, 12, 0)] == [384, 768]


def test_an_engine_that_cannot_be_judged_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glora_lab.search.engines.Inherited.first", 1)
    monkeypatch.setattr("glora_lab.search.engines.Inherited.then", 1)
    space = SearchSpace.of(MODEL, ranks=(1,), target_modules=["q_proj"])
    numbers: Any = {"engine": "inherited", "trials": 2, "steps": 2}
    study = search_paths(MODEL, load_task("digits-turned"), space, **numbers)
    assert [trial.engine for trial in study] == ["short"]
    assert study.agreement is not None and math.isnan(study.agreement.tau)


@pytest.mark.parametrize(("tau", "count", "better"), [(0.6, 0.5, True), (0.5, 0.6, False), (-0.1, -0.5, False)])
def test_better_than_counting_and_than_nothing(tau: float, count: float, better: bool) -> None:
    assert Agreement("adapted", (0.1, 0.2), (0.1, 0.2), (1, 2), tau, count).is_better is better
