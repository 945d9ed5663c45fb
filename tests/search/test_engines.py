"""What an engine does to reach a score, and that it does it again."""

from __future__ import annotations

from typing import Any

import pytest
from optuna.trial import TrialState

from glora_lab import fit, load_model, load_task
from glora_lab.search import SearchSpace
from glora_lab.search.engines import ENGINES, Adapted, Engine, Inherited, Paper, Short, Trained, fresh
from glora_lab.search.gate import spread_choices
from glora_lab.search.score import score

MODEL, TASK = load_model("digits-vit"), load_task("digits-turned")
SPACE = SearchSpace.of(MODEL, ranks=(1, 2, 4))
CHOICES = spread_choices(SPACE, 3, 0)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    for engine, numbers in {Inherited: (1, 2), Paper: (0, 3)}.items():
        monkeypatch.setattr(engine, "first", numbers[0])
        monkeypatch.setattr(engine, "then", numbers[1])


def made(kind: type[Engine], **changes: Any) -> Any:
    engine = kind(MODEL, TASK, SPACE, **{"seed": 0, "lr": 5e-3, "steps": 8, **changes})
    assert len(list(engine.prepare())) == engine.total
    return engine


@pytest.mark.parametrize("kind", [*ENGINES.values(), Trained])
def test_a_seed_repeats_every_score_to_the_bit(kind: type[Engine]) -> None:
    runs = [[made(kind, seed=seed).score(choice) for choice in CHOICES[1:]] for seed in (3, 3, 4)]
    assert runs[0] == runs[1] != runs[2]


def test_adapting_one_setting_leaves_the_others_as_they_were() -> None:
    engine = made(Adapted)
    before = [Inherited.score(engine, choice) for choice in CHOICES]
    adapted = [engine.score(choice) for choice in CHOICES]
    assert [Inherited.score(engine, choice) for choice in CHOICES] == before
    assert all(after.loss < inherited.loss for after, inherited in zip(adapted, before, strict=True))
    assert [engine.score(choice) for choice in reversed(CHOICES)] == adapted[::-1]


def test_the_largest_alone_then_largest_smallest_and_another() -> None:
    engine = made(Inherited)
    assert engine._trained_at(0) == [SPACE.largest]
    assert engine._trained_at(1)[:2] == [SPACE.largest, SPACE.smallest] and len(engine._trained_at(1)) == 3
    assert len(made(Paper)._trained_at(0)) == 1


def test_halving_is_by_loss() -> None:
    engine = made(Short)
    engine.score(CHOICES[-1])
    (trial,) = engine.rungs(CHOICES[-1]).trials
    assert sorted(trial.intermediate_values) == [1, 2, 4, 8]
    built = fresh(MODEL, SPACE, CHOICES[-1], 0)
    for _ in fit(built, TASK, steps=1, lr=5e-3, seed=0):
        pass
    assert trial.intermediate_values[1] == score(built, TASK.validation).loss


def test_halving_ends_the_worse_half_of_each_size() -> None:
    engine = made(Short)
    choices = spread_choices(SPACE, 14, 0)
    scores = {choice: engine.score(choice) for choice in choices}
    for choice in choices:
        sizes = [c for c in choices if SPACE.params(c).bit_length() == SPACE.params(choice).bit_length()]
        trials = engine.rungs(choice).trials
        assert len(trials) == len(sizes)
        for place, trial in enumerate(trials):
            seen = trial.intermediate_values
            assert scores[sizes[place]].loss == list(seen.values())[-1]
            if trial.state is TrialState.PRUNED:
                at = max(seen)
                assert seen[at] > min(t.intermediate_values.get(at, 9e9) for t in trials[:place])
        assert trials[0].state is TrialState.COMPLETE  # nothing of its size was before it
    assert any(t.state is TrialState.PRUNED for c in choices for t in engine.rungs(c).trials)


def test_of_text_eight_examples_are_a_batch() -> None:
    model, task = load_model("bytes-llama"), load_task("text-capitals")
    space = SearchSpace.of(model, ranks=(1,), target_modules=["q_proj"])
    engine = Trained(model, task, space, seed=0, lr=5e-3, steps=1)
    assert engine.batch == 8 and made(Trained).batch == 32
    built = fresh(model, space, space.largest, 0)
    for _ in fit(built, task, steps=1, lr=5e-3, seed=0, batch_size=8):
        pass
    assert engine.score(space.largest) == score(built, task.validation)
