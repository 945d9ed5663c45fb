"""SearchPanel while it searches and trains: a session in a thread, its stages, pause and stop, a run that is kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from glora_lab.ideas.search.panel_progress import left_in_words
from glora_lab.panels import SearchPanel, TrainPanel
from glora_lab.training.run_folder import RunFolder
from tests.ideas.search.searches import panel, quick

pytest.importorskip("optuna")


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)


def until(condition: Callable[[], bool], seconds: float = 250) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def test_a_search_fills_the_panel_and_ends() -> None:
    lab = panel(gate=2)
    lab.search()
    lab.wait()
    assert lab.session.state == "done" and len(lab.result.trials) == 12 and lab.study is lab.session.study
    assert lab.progress.line.value == "done: trial 12 of 12" and lab.progress.bar.value == lab.progress.bar.max
    assert lab.map.found.trials == lab.study.trials and lab.chosen == lab.best == lab.study.front[-1]
    assert lab.config is lab.best.config and not lab.taken.button.disabled
    assert lab.study.said.split(";")[0] in lab.outcome.says.value and lab.outcome.agreement.picture is not None
    assert lab.outcome.importance.trials == 12 and "accuracy" in lab.outcome.worth.summary
    assert lab.errors == [] and lab.problem == ""
    lab.close()


def test_the_controls_reach_the_search() -> None:
    lab = panel(limit=2000)
    lab.controls.ranks.value = ["1"]
    lab.controls.trials.value = 3
    lab.search()
    lab.wait()
    assert len(lab.result.trials) == 3 and all(trial.params <= 2000 for trial in lab.result.trials)
    assert lab.study.limit == 2000 and lab.study.engine == "inherited"
    lab.controls.bounded.value = False
    lab.search()
    lab.wait()
    assert lab.study.limit is None and lab.result.trials[0].name == "rank 1" and lab.result.trials[0].params == 2688
    lab.close()


def test_stages_before_the_first_trial_are_shown() -> None:
    lab = panel(trials=3, gate=2)
    said: list[str] = []
    lab.progress.line.observe(lambda change: said.append(change["new"]), "value")
    lab.search()
    while lab.under_way:
        lab.refresh()
    lab.wait()
    assert said[-1] == "done: trial 3 of 3"
    stages = " ".join(said)
    assert "running: preparing " in stages or "running: gate " in stages
    lab.close()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(float("nan"), ""), (0.0, ""), (12.3, ", 13 s left"), (119, ", 119 s left"), (150, ", about 3 minutes left")],
)
def test_the_time_left_in_words(seconds: float, words: str) -> None:
    assert left_in_words(seconds) == words


def test_pause_resume_and_stop() -> None:
    lab = panel(trials=400)
    lab.search()
    until(lambda: len(lab.study.trials) >= 2)
    lab.pause_or_resume()
    until(lambda: lab.session.state == "paused")
    lab.refresh()
    count = len(lab.study.trials)
    assert lab.pause_button.description == "Resume" and lab.progress.line.value.startswith("paused: trial ")
    assert lab.start_button.disabled and lab.taken.button.disabled and len(lab.map.found.trials) == count
    lab.controls.limit.value = 5000  # the limit answers while it rests
    assert lab.best is None or lab.best.params <= 5000
    lab.pause_or_resume()
    until(lambda: len(lab.study.trials) > count)
    lab.stop()
    lab.wait()
    assert lab.session.state == "stopped" and "stopped: trial " in lab.progress.line.value
    assert not lab.start_button.disabled and len(lab.map.found.trials) == len(lab.study.trials) < 400
    assert lab.errors == []
    lab.close()


def test_a_search_that_cannot_be_is_refused_and_what_was_found_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = panel(trials=3)
    lab.search()
    lab.wait()
    before = lab.result

    def refuse(*_: Any, **__: Any) -> None:
        raise ValueError("`limit` (=1) must be larger")

    monkeypatch.setattr("glora_lab.ideas.search.panel.search_paths", refuse)
    lab.search()
    assert lab.problem == "`limit` (=1) must be larger" and lab.result == before and lab.errors == []
    lab.close()


def test_what_ends_a_search_is_kept_and_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("no more memory")

    monkeypatch.setattr("glora_lab.search.engines.Inherited.score", fail)
    lab = panel()
    lab.search()
    with pytest.raises(RuntimeError, match="no more memory"):
        lab.wait()
    assert "RuntimeError: no more memory" in lab.problem and len(lab.errors) == 1
    lab.errors.clear()
    lab.close()


def test_this_one_is_trained_for_real_and_joins_train_panels_runs(tmp_path: Path) -> None:
    table = TrainPanel(keep_runs=tmp_path)
    lab = panel(trials=4, keep_runs=tmp_path)
    lab.search()
    lab.wait()
    lab.map.number.value = 1
    lab.train()
    lab.wait()
    (run,) = lab.runs
    assert run.name == "GLoRA trial 1 of a search" and run.params == lab.chosen.params and len(run.steps) == 4
    assert [kept.name for kept in RunFolder(tmp_path).runs] == [run.name] and (tmp_path / run.id).is_dir()
    assert [kept.name for kept in table.table.rows] == [run.name] and run.name in table.table.value
    assert f"{run.metric:.1%} of the test part" in lab.taken.trained.value
    assert "done: step 4 of 4" in lab.progress.line.value
    lab.train()
    lab.wait()
    assert lab.runs[1].name == "GLoRA trial 1 of a search (2)" and lab.errors == [] and lab.problem == ""
    for one in (table, lab):
        one.close()


def test_a_search_again_begins_anew_and_a_closed_panel_stops_its_own() -> None:
    lab = panel(trials=3)
    lab.search()
    lab.wait()
    first = lab.study
    lab.map.number.value = 2
    lab.search()
    assert lab.map.number.value == -1 and lab.study is not first
    lab.search()  # one at a time
    lab.close()
    until(lambda: lab.session.finished)


def test_seeded_searches_repeat() -> None:
    labs = [panel(trials=6, seed=3) for _ in range(2)]
    for lab in labs:
        lab.search()
        lab.wait()
    one, other = ([(t.choice, t.metric) for t in lab.result.trials] for lab in labs)
    assert one == other
    again = SearchPanel.from_state(labs[0].state)
    assert again.state == labs[0].state and again.result.trials == ()
    for lab in (*labs, again):
        lab.close()
