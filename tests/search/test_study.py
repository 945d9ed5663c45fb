"""A search from its first step to finalists that are trained anew, on a few steps each."""

from __future__ import annotations

import math
from typing import Any

import pytest
from peft import get_peft_model

from glora_lab import load_model, load_task
from glora_lab.ideas.search.record import Agreement, Trial, Verified, front
from glora_lab.search import SearchSession, SearchSpace, Study, search_paths
from glora_lab.search.engines import ENGINES, Inherited, Paper
from glora_lab.search.gate import agreement
from glora_lab.search.score import score
from glora_lab.search.study import Progress
from glora_lab.training import evaluate

MODEL, TASK = load_model("digits-vit"), load_task("digits-turned")
SPACE = SearchSpace.of(MODEL, ranks=(1, 2))
INHERITED = {"engine": "inherited"}


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Inherited, "first", 2)
    monkeypatch.setattr(Inherited, "then", 2)
    monkeypatch.setattr(Paper, "then", 4)


def search(**options: Any) -> Study:
    return search_paths(MODEL, TASK, SPACE, **{"trials": 5, "gate": 0, "steps": 4, **options})


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_gives_trials_that_can_be_built(engine: str) -> None:
    study = search(engine=engine)
    trials = list(study)
    assert [trial.number for trial in trials] == list(range(5)) and study.trials == tuple(trials)
    assert {trial.name for trial in trials} == {"rank 1", "rank 2", ""}
    assert len({trial.choice for trial in trials}) == 5
    for trial in trials:
        assert 0 <= trial.metric <= 1 and trial.loss > 0 and trial.engine == engine
        assert trial.params == SPACE.params(SPACE.read(trial.choice))
    best = study.best(limit=trials[0].params)
    assert best.params <= trials[0].params
    built = get_peft_model(load_model("digits-vit"), best.config)
    assert sum(p.numel() for p in built.parameters() if p.requires_grad) == best.params


@pytest.mark.parametrize(("sampler", "engine"), [("nsga2", {}), ("tpe", INHERITED), ("random", INHERITED)])
def test_the_same_seed_repeats_to_the_bit(sampler: str, engine: dict[str, str]) -> None:
    """What each engine makes of a seed is asked in test_engines.py."""
    runs = [[(t.choice, t.metric, t.loss) for t in search(sampler=sampler, seed=seed, **engine)] for seed in (3, 3, 4)]
    assert runs[0] == runs[1] != runs[2]


def test_no_trial_is_above_the_limit_and_each_is_another() -> None:
    limit = 3000
    trials = list(search(limit=limit, trials=12, engine="inherited"))
    assert len(trials) == 12 == len({trial.choice for trial in trials})
    assert all(trial.params <= limit for trial in trials)


def test_a_space_that_is_exhausted_ends_the_search() -> None:
    space = SearchSpace.of(MODEL, ranks=(1,), target_modules=["q_proj"])
    assert len(list(search_paths(MODEL, TASK, space, trials=50, gate=0, engine="inherited"))) == 1


def test_a_loop_that_is_left_goes_on_where_it_was() -> None:
    study = search(engine="inherited")
    for _ in study:
        break
    assert len(study.trials) == 1
    assert [trial.number for trial in study] == [1, 2, 3, 4] and list(study) == []


def test_the_way_to_the_first_trial_is_seen_step_by_step() -> None:
    study, events = search(gate=2, engine="inherited", trials=1), []
    while (event := study.advance()) is not None:
        events.append(event)
    assert [e for e in events if isinstance(e, Progress)] == [
        *(Progress("preparing", done, 4) for done in (1, 2, 3, 4)),
        *(Progress("gate", done, 2) for done in (1, 2)),
    ]
    assert len(study.trials) == 1


def test_an_engine_that_orders_no_better_than_counting_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[tuple[float, float]] = [(0.2, 0.5), (0.6, 0.5)]

    def judge(engine: str, *_: Any) -> Agreement:
        tau, count = judged.pop(0)
        return Agreement(engine, (0.1, 0.2), (0.1, 0.2), (1, 2), tau, count)

    monkeypatch.setattr("glora_lab.search.study.agreement", judge)
    worse, better = search(gate=2, engine="inherited"), search(gate=2, engine="inherited")
    assert {trial.engine for trial in worse} == {"short"} and worse.engine == "short"
    assert "τ 0.20 of inherited, 0.50 of the parameter count" in worse.said and "trained for real instead" in worse.said
    assert {trial.engine for trial in better} == {"inherited"} and better.said == ""


def test_agreement_is_kendalls_tau_with_ties() -> None:
    found = agreement("x", SPACE, [SPACE.smallest, SPACE.largest, SPACE.smallest], [0.1, 0.2, 0.3], [0.3, 0.2, 0.1])
    assert found.tau == -1 and found.tau_params == pytest.approx(0.0, abs=1e-12) and not found.is_better
    alike = agreement("x", SPACE, [SPACE.smallest, SPACE.largest], [0.1, 0.2], [0.5, 0.5])
    assert math.isnan(alike.tau) and not alike.is_better


def test_finalists_are_trained_anew_beside_lora_and_read_the_test_part() -> None:
    study = search(engine="inherited", trials=4)
    with pytest.raises(ValueError, match=r"call verify\(\) first"):
        _ = study.optimism
    assert all(math.isnan(trial.test) for trial in study)
    found = study.verify(seeds=2)
    assert 1 <= len(found) <= 4 and all(len(one.test) == len(one.lora) == 2 for one in found)
    assert all(one.lora_params <= one.params or one.lora_params == 1344 * 2 for one in found)
    tests = {trial.number: trial.test for trial in study.front}
    assert all(tests[one.number] == pytest.approx(sum(one.test) / 2) for one in found)
    assert math.isfinite(study.optimism)


def test_no_better_than_lora_is_said_within_two_standard_errors() -> None:
    close = Verified(0, 100, 90, (0.80, 0.82, 0.79), (0.79, 0.80, 0.81), (0.8, 0.8, 0.8))
    clear = Verified(0, 100, 90, (0.90, 0.91, 0.92), (0.79, 0.80, 0.82), (0.8, 0.8, 0.8))
    assert close.in_words.startswith("no better than LoRA") and clear.in_words.startswith("better than LoRA")
    by_chance = Verified(0, 100, 90, (0.805, 0.799), (0.796, 0.787), (0.8, 0.8))  # pairs that differ by .009 and .012
    assert by_chance.in_words.startswith("no better than LoRA")
    assert Verified(0, 9, 9, (0.5,), (0.9,), (0.5,)).in_words.startswith("no better")  # one seed shows nothing


def trial(number: int, params: int, metric: float) -> Trial:
    return Trial(number, params, metric, 1.0, "0", "short", 0.1)


def test_the_front() -> None:
    trials = [trial(0, 10, 0.5), trial(1, 5, 0.5), trial(2, 20, 0.4), trial(3, 20, 0.9), trial(4, 5, 0.5)]
    assert [one.number for one in front(trials)] == [1, 3]


def test_the_score_is_evaluates_accuracy() -> None:
    got = score(MODEL, TASK.validation, batch_size=64)
    assert got.metric == evaluate(MODEL, TASK.validation)
    text = load_task("text-capitals").validation
    reader = load_model("bytes-llama")
    assert score(reader, text).metric == pytest.approx(evaluate(reader, text), abs=1e-12)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"engine": "magic"}, r"`engine` \(='magic'\)"),
        ({"sampler": "cma"}, r"`sampler` \(='cma'\)"),
        ({"objectives": ("speed",)}, r"`objectives` \(='speed'\)"),
        ({"objectives": ()}, r"`objectives` \(=\(\)\)"),
        ({"trials": 0}, r"`trials` \(=0\)"),
        ({"gate": 1}, r"`gate` \(=1\)"),
        ({"limit": 10}, r"`limit` \(=10\) must be at least 384"),
        ({"lr": 0}, r"`lr` \(=0\)"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_starts(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        search(**given)


def test_a_best_that_is_not_there_names_the_smallest() -> None:
    study = search(engine="inherited", trials=2)
    with pytest.raises(ValueError, match=r"leaves none: this study has no trial yet"):
        study.best()
    list(study)
    with pytest.raises(ValueError, match=r"`limit` \(=3\) leaves none: the smallest trial has"):
        study.best(limit=3)


def test_what_is_drawn_is_what_the_study_has() -> None:
    study = search(engine="inherited", trials=6)
    list(study)
    assert study.result.trials == study.trials and study.result.front == study.front
    last = study.trials[-1]
    assert study.path_map(last).total == last.params
    worth = study.importance("parameters")
    assert set(worth.shares) == {slot.name for slot in SPACE.slots} and sum(worth.shares.values()) == pytest.approx(1)
    with pytest.raises(ValueError, match=r"`objective` \(='loss'\)"):
        study.importance("loss")


def test_importances_are_of_what_was_scored_alone() -> None:
    study = search(engine="inherited", trials=8, limit=3000)
    list(study)
    told = [trial for trial in study._proposals.study.trials if trial.values]
    assert study.importance().trials == 8 < len(told)  # a sampler hears of those above the limit as well


def test_a_search_runs_in_a_thread_to_its_end() -> None:
    session = SearchSession(search(engine="inherited", gate=2, trials=3))
    assert session.stage == "trial 0 of 3"
    session.start()
    pieces = session.wait()
    assert session.state == "done" and [type(piece).__name__ for piece in pieces] == ["Progress"] * 6 + ["Trial"] * 3
    assert session.study.trials == pieces[6:] and session.stage == "trial 3 of 3" and session.seconds_left == 0


def test_a_search_that_runs_out_of_settings_is_done() -> None:
    space = SearchSpace.of(MODEL, ranks=(1,), target_modules=["q_proj"])
    session = SearchSession(search_paths(MODEL, TASK, space, trials=50, gate=0, engine="inherited"))
    session.start()
    assert len(session.wait()) == 5 and session.state == "done"


def test_a_search_is_paused_and_stopped() -> None:
    session = SearchSession(search(engine="inherited", trials=40))
    session.start()
    session.pause()
    session.stop()
    session.wait()
    assert session.state == "stopped" and len(session.study.trials) < 40
