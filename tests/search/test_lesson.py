"""The stored search: what is read is what was written, and what the space and the package say of it today."""

from __future__ import annotations

from importlib import resources

import pytest
from peft import get_peft_model

from glora_lab import SearchSpace, load_model, load_task
from glora_lab.ideas.search.record_stored import StoredSearch
from glora_lab.search.engines import Inherited, Paper
from glora_lab.search.gate import kendall, spread_choices
from glora_lab.search.lesson import (
    FILE,
    MODEL,
    SEARCH,
    SEEDS,
    SETTINGS,
    SHARED_WEIGHTS,
    TASK,
    judged,
    stored_search,
    stored_space,
)

TEXT = (resources.files("glora_lab.search") / FILE).read_text(encoding="utf-8")
STORED, SPACE = stored_search(), stored_space()


def test_it_is_small_and_read_as_it_was_written() -> None:
    assert len(TEXT.encode()) < 300_000
    assert StoredSearch.from_json(TEXT).to_json() == TEXT


def test_its_counts_and_configurations_are_those_of_the_space() -> None:
    trials = STORED.result.trials
    assert len(trials) == SEARCH["trials"] == len({trial.choice for trial in trials})
    for trial in trials:
        choice = SPACE.read(trial.choice)
        assert trial.params == SPACE.params(choice) == SPACE.path_map(choice).total <= SEARCH["limit"]
        assert trial.engine == STORED.engine
    best = STORED.result.front[-1]
    built = get_peft_model(load_model(MODEL), best.config)
    assert sum(p.numel() for p in built.parameters() if p.requires_grad) == best.params
    anchors = {trial.name: SPACE.read(trial.choice) for trial in trials if trial.name}
    assert anchors == {name: choice for name, choice in SPACE.anchors().items() if name in anchors} != {}


def test_it_says_how_it_was_made() -> None:
    assert (STORED.made["model"], STORED.made["task"]) == (MODEL, TASK)
    assert STORED.made["search"] == SEARCH and STORED.result.limit == SEARCH["limit"]
    assert set(STORED.made["versions"]) == {"torch", "transformers", "peft", "optuna"}


def test_its_gate_judged_the_settings_that_are_drawn_today() -> None:
    gate = STORED.result.agreement
    assert gate is not None and gate.engine == SEARCH["engine"]
    drawn = spread_choices(SPACE, len(gate.params), SEARCH["seed"] + 1, SEARCH["limit"])
    assert gate.params == tuple(map(SPACE.params, drawn))
    assert gate.tau == pytest.approx(kendall(gate.trained, gate.scored), abs=1e-4)
    assert gate.tau_params == pytest.approx(kendall(gate.trained, gate.params), abs=1e-4)
    assert gate.is_better == (STORED.engine == gate.engine) == (STORED.said == "")


def test_its_finalists_are_of_its_front_and_read_the_test_part() -> None:
    front = {trial.number: trial for trial in STORED.result.front}
    assert len(STORED.result.verified) == 4
    for one in STORED.result.verified:
        assert one.params == front[one.number].params and len(one.test) == len(one.lora) == SEEDS
    gaps = [v - t for one in STORED.result.verified for v, t in zip(one.validation, one.test, strict=True)]
    assert STORED.optimism == pytest.approx(sum(gaps) / len(gaps), abs=1e-4)
    assert set(STORED.importance.shares) == {slot.name for slot in SPACE.slots}


def test_its_engines_were_judged_on_the_settings_that_are_drawn_today() -> None:
    space = SearchSpace.of(load_model(MODEL))
    params = tuple(map(space.params, spread_choices(space, SETTINGS, seed=0)))
    assert [one.engine for one in STORED.agreements] == [kind.name for kind in SHARED_WEIGHTS]
    for one in STORED.agreements:
        assert one.params == params and one.trained == STORED.agreements[0].trained
        assert one.tau == pytest.approx(kendall(one.trained, one.scored), abs=1e-4)
        assert one.tau_params == pytest.approx(kendall(one.trained, one.params), abs=1e-4)


def test_judging_trains_for_real_and_with_shared_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glora_lab.search.lesson.SEARCH", {**SEARCH, "steps": 2})
    for kind in (Inherited, Paper):
        monkeypatch.setattr(kind, "first", 1)
        monkeypatch.setattr(kind, "then", 1)
    found = list(judged(load_model(MODEL), load_task(TASK), settings=3, seeds=2))
    assert [one.engine for one in found] == ["paper", "inherited", "adapted"]
    assert all(one.trained == found[0].trained and len(one.scored) == 3 for one in found)
    assert found[1].scored != found[2].scored
