"""A search in a file: gone on with, joined, followed, and what killed processes leave behind."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from glora_lab import follow_study, load_model
from glora_lab.search import SearchSession, SearchSpace
from tests.search.fake_search import MODEL, SPACE, Counting, counted


def results(study: Any) -> list[tuple[int, str, float, float]]:
    return [(trial.number, trial.choice, trial.metric, trial.loss) for trial in study.trials]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "deeper" / "search.journal"


@pytest.mark.parametrize("sampler", ["nsga2", "tpe", "random"])
def test_a_file_changes_nothing_in_what_is_found(journal: Path, sampler: str) -> None:
    memory, file = counted(trials=40, sampler=sampler), counted(journal, trials=40, sampler=sampler)
    assert len(list(memory)) == len(list(file)) == 40
    assert results(memory) == results(file) and memory.storage == "memory" and file.storage == str(journal)


def test_a_search_goes_on_where_another_process_ended(journal: Path) -> None:
    first = counted(journal, trials=10)
    made = list(first)
    again = counted(journal, trials=15)
    assert results(again) == results(first) and again.total == 15
    assert [trial.number for trial in again] == list(range(10, 15))
    assert len({trial.choice for trial in again.trials}) == 15 and again.front[0].config is not None
    assert list(counted(journal, trials=12)) == [] and made == list(first.trials)


def test_two_workers_share_the_trials_and_draw_other_numbers(journal: Path) -> None:
    space = SearchSpace.of(MODEL, ranks=(1, 2, 4, 8, 16, 32))
    one, other = (counted(journal, trials=60, space=space, sampler="random") for _ in range(2))
    while one.advance() is not None:
        other.advance()
    assert other.advance() is None
    one.refresh()
    other.refresh()
    assert results(one) == results(other) and len(one.trials) == 60 == len({trial.choice for trial in one.trials})
    refused = [trial for trial in one._stored._known._trials if trial.state.name == "FAIL"]
    assert len(refused) <= 8  # the same seed and no trial yet: the first collision sends one of them elsewhere


def test_what_others_find_is_learned_from(journal: Path) -> None:
    """NSGA-II counts every trial into a generation, whoever made it."""
    list(counted(journal, trials=50))
    study = counted(journal, trials=51)
    told = study._proposals.study.get_trials(deepcopy=False)
    key = study._proposals.study.sampler._get_generation_key()
    assert [trial.system_attrs[key] for trial in told] == [0] * 24 + [1] * 24 + [2] * 2
    assert len(list(study)) == 1 and study._proposals.study.trials[-1].system_attrs[key] == 2


def test_a_choice_is_one_short_text_per_trial(journal: Path) -> None:
    list(counted(journal, trials=5))
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    begun = [line for line in lines if line["op_code"] == 4]
    assert len(begun) == 5 and all(not line["params"] for line in begun)
    assert all(len(json.dumps(line["user_attrs"]["setting"])) < 200 for line in begun)
    assert len(lines) == 2 + 3 * 5  # a study and what it is of; a beginning, a result and an end for each trial


def test_a_study_is_followed_without_a_model(journal: Path) -> None:
    worker = counted(journal, trials=12)
    for _ in zip(range(4), worker, strict=False):
        pass
    before = journal.read_bytes()
    study = follow_study(journal)
    assert results(study) == results(worker) and study.total == 12 and study.engine == "counting"
    assert study.running == 0 and study.limit is None and study.said == ""
    list(worker)
    assert len(study.trials) == 4 and [trial.number for trial in study.refresh()] == list(range(4, 12))
    assert study.refresh() == () and results(study) == results(worker)
    assert study.front == worker.front and study.best().config.rank_pattern == worker.best().config.rank_pattern
    assert study.path_map(study.trials[0]).total == study.trials[0].params
    assert study.importance().shares == worker.importance().shares and study.importance().trials == 12
    assert study.result.trials == study.trials
    assert journal.read_bytes()[: len(before)] == before


def test_what_is_not_there_is_refused_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must be a file that a search has written, and is not there"):
        follow_study(tmp_path / "none.journal")
    assert list(tmp_path.iterdir()) == []
    list(counted(tmp_path / "some.journal", trials=1, name="mine"))
    with pytest.raises(ValueError, match=r"`name` \(='search'\) must be a study in .*some.journal, which has: mine"):
        follow_study(tmp_path / "some.journal")


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"lr": 1e-3}, r"differs in lr \(0\.005 there, 0\.001 here\)"),
        ({"objectives": ("accuracy",)}, r"differs in objectives"),
        ({"limit": 9000}, r"differs in limit \({} there, {'parameters': 9000} here\)"),
        ({"space": SearchSpace.of(MODEL, ranks=(1, 2))}, r"differs in space"),
        ({"steps": 7, "gate": 3}, r"differs in gate \(0 there, 3 here\), steps \(100 there, 7 here\)"),
    ],
)
def test_a_worker_that_looks_for_something_else_is_refused(journal: Path, other: dict[str, Any], says: str) -> None:
    counted(journal)
    before = journal.read_bytes()
    with pytest.raises(ValueError, match=rf"`name` \(='search'\) is a study in .* that {says}.*another name"):
        counted(journal, **other)
    assert journal.read_bytes() == before
    counted(journal, **other, name="another")
    counted(journal, seed=5, sampler="tpe", trials=3)  # what may differ


def test_a_worker_with_another_model_data_or_version_is_refused(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted(journal)
    other = load_model("digits-vit")
    next(other.parameters()).data[0, 0] += 1e-3
    monkeypatch.setattr("tests.search.fake_search.MODEL", other)
    with pytest.raises(ValueError, match=r"that differs in model \(\w{12} there, \w{12} here\): give"):
        counted(journal)
    monkeypatch.undo()
    from glora_lab import load_task

    monkeypatch.setattr("tests.search.fake_search.TASK", load_task("digits-turned", seed=1))
    monkeypatch.setattr("glora_lab.search.identity.__version__", "9.9")
    with pytest.raises(ValueError, match=r"differs in data \(.*\), version of glora_lab \(.* there, 9\.9 here\)"):
        counted(journal)


def lines_of(journal: Path) -> list[bytes]:
    return journal.read_bytes().splitlines(keepends=True)


def quickly(journal: Path, trials: int) -> Any:
    """Opened, and gone on with, within five seconds."""
    started = time.monotonic()
    study = counted(journal, trials=trials)
    list(study)
    assert time.monotonic() - started < 5
    return study


@pytest.mark.parametrize("kept", [1, 20, -1])
def test_a_torn_last_line_is_cut_off(journal: Path, kept: int) -> None:
    before = counted(journal, trials=6)
    list(before)
    *whole, last = lines_of(journal)
    journal.write_bytes(b"".join(whole) + last[:kept])  # the end of the last trial was not written whole
    assert len(follow_study(journal).trials) == 5
    # its worker is taken for dead after the grace time, and the choice tried again
    study = counted(journal, trials=6, grace=0.4)
    assert results(study) == results(before)[:5]
    assert [trial.choice for trial in study] == [before.trials[5].choice]
    assert all(json.loads(line) for line in lines_of(journal))


def test_what_was_written_behind_a_torn_line_is_read(journal: Path) -> None:
    """As stock Optuna leaves it, which then cannot read the file any more."""
    list(counted(journal, trials=6))
    lines = lines_of(journal)
    glued = [*lines[:-1], lines[-1][:30], lines[-1]]
    journal.write_bytes(b"".join(glued))
    assert len(quickly(journal, 8).trials) == 8


def test_a_lock_left_behind_stalls_nobody(journal: Path) -> None:
    list(counted(journal, trials=3))
    os.symlink(journal, f"{journal}.lock")  # Optuna's
    Path(f"{journal}.in-use").write_text("")
    study = quickly(journal, 6)
    assert [trial.number for trial in study.trials] == list(range(6))


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("my own")
    for wrong in (notes, tmp_path):
        with pytest.raises(ValueError, match=r"`storage` .* must be a file that a search has written"):
            counted(wrong)
    assert notes.read_text() == "my own"
    for wrong in (5, ""):
        with pytest.raises(ValueError, match=r"`storage` .* must be None, a file or the URL of a database"):
            counted(wrong)


def test_an_error_ends_its_choice_and_an_interruption_gives_it_back(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Counting, "score", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        list(counted(journal, trials=3))
    monkeypatch.setattr(Counting, "score", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(counted(journal, trials=3))
    monkeypatch.undo()
    study = counted(journal, trials=3)
    trials = list(study)  # at once: nobody is waited for
    assert len(trials) == 3 and SPACE.anchors()["rank 1"] not in [SPACE.read(trial.choice) for trial in trials]


def test_a_worker_that_was_taken_for_dead_is_not_counted(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sleeper, other = counted(journal, trials=2, grace=0.2), counted(journal, trials=2, grace=0.2)
    monkeypatch.setattr("glora_lab.search.stored.StoredTrials._give_signs", lambda *_: None)

    def score_while_others_work(self: Any, choice: Any) -> Any:
        monkeypatch.setattr(Counting, "score", score)
        assert len(list(other)) == 2
        return score(self, choice)

    score = Counting.score
    monkeypatch.setattr(Counting, "score", score_while_others_work)
    assert list(sleeper) == []
    sleeper.refresh()
    assert len(sleeper.trials) == 2 and results(sleeper) == results(other)


def test_signs_of_life_keep_a_slow_worker(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counting, "seconds", 1.5)
    slow = SearchSession(counted(journal, trials=1, grace=0.4))
    slow.start()
    while not (waiting := counted(journal, trials=1, grace=0.4))._stored.running:
        time.sleep(0.02)
    session = SearchSession(waiting)
    session.start()
    assert session.wait(20)[-1].stage == "waiting" and session.state == "done"
    slow.wait(20)
    assert len(waiting.trials) == 1 and waiting._stored.begun == 1
