"""SearchPanel over what is there already: the limit, the chosen trial, its map and its code, state, a growing study."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from statistics import median
from types import SimpleNamespace
from typing import Any

import pytest
from peft import get_peft_model

from glora_lab import DeltaMethod
from glora_lab.models import load_model
from glora_lab.panels import SearchPanel
from glora_lab.records import SearchResult
from glora_lab.search import SearchSpace
from glora_lab.search.lesson import stored_search, stored_space
from tests.ideas.search.searches import GATE, MODEL, SPACE, found, panel
from tests.page.driving import send

MANY = 2000
SECONDS = 0.1  # from the limit to what a page is sent, of which a busy machine may need several times as much
BUSY = 10


def test_it_opens_with_nothing_found() -> None:
    lab = panel()
    assert lab.result == SearchResult(()) and lab.chosen is None and lab.config is None and lab.snippet == ""
    assert "15,625</b> settings, 384 to 21,504 parameters" in lab.controls.size.value
    assert lab.taken.button.disabled and not lab.start_button.disabled and lab.errors == [] and lab.problem == ""
    assert lab.map.picture.words == "The search has no trial yet."
    lab.train()
    assert lab.problem == "there is no trial to train yet: press Search first" and lab.session is None
    lab.close()


@pytest.mark.parametrize("limit", [600, 2000, 9000, 20_000])
def test_a_limit_shows_the_best_within_it_and_searches_nothing(limit: int) -> None:
    lab = panel(study=found())
    lab.controls.limit.value = limit
    fitting = [trial for trial in found().trials if trial.params <= limit]
    best = max(fitting, key=lambda trial: (trial.metric, -trial.params)) if fitting else None
    assert lab.best == lab.chosen == best and lab.session is None
    assert (lab.path_map is None) == (best is None) == (lab.snippet == "")
    if best is not None:
        assert lab.path_map.total == best.params and f"Best within {limit:,}: {best.params:,} par" in lab.map.note
    lab.close()


def test_the_limit_moves_its_line_and_no_point() -> None:
    lab = panel(study=found())
    sent: list[str] = []
    lab.map.chooser.observe(lambda change: sent.append(change["name"]))
    places = []
    for limit in (1000, 4000, 16_000):
        lab.controls.limit.value = limit
        places.append(lab.map.chooser.limit)
    assert "Best within 16,000: " in lab.map.note
    lab.controls.limit.value = 10**9
    assert lab.map.note.startswith("Best of all: ") and lab.map.chooser.limit == 1
    assert places == sorted(places) and len(set(places)) == 3 and "points" not in sent
    lab.close()


def test_two_thousand_trials_answer_a_limit_at_once() -> None:
    lab = panel(study=found(MANY))
    took = []
    for step in range(40):
        started = time.perf_counter()
        lab.controls.limit.value = 1000 + 400 * (step % 20)
        took.append(time.perf_counter() - started)
    print(f"limit to picture of {MANY} trials: median {1000 * median(took):.1f} ms, at most {1000 * max(took):.1f}")
    assert median(took) < BUSY * SECONDS and lab.errors == []
    lab.close()


def test_a_click_and_the_number_choose_a_trial() -> None:
    lab = panel(study=found())
    send(lab.map.chooser, chosen=17)
    assert lab.chosen == found().trials[17] and lab.map.number.value == 17
    assert lab.path_map == SPACE.path_map(SPACE.read(lab.chosen.choice))
    assert lab.taken.figure.summary and "Chosen: " in lab.map.note and "trial 17" in lab.map.note
    lab.map.number.value = 3
    assert lab.chosen.number == 3 and lab.map.chooser.chosen == 3
    for late in (-1, 60, 10**6):
        send(lab.map.chooser, chosen=late)
        assert lab.chosen.number == 3
    lab.map.number.value = 999
    assert lab.chosen is None and lab.config is None and "There is no trial 999 yet" in lab.map.note
    lab.controls.limit.value = 5000
    assert lab.map.number.value == -1 and lab.chosen is lab.best is not None and lab.errors == []
    lab.close()


def test_the_code_makes_the_trials_adapter() -> None:
    lab = panel(study=found())
    for number in (0, 11, 30):
        lab.map.number.value = number
        names: dict[str, Any] = {}
        exec(lab.snippet, names)
        built = get_peft_model(load_model("digits-vit"), names["config"])
        assert sum(p.numel() for p in built.parameters() if p.requires_grad) == lab.chosen.params
        assert lab.snippet.splitlines()[2] in lab.taken.code.value
    lab.close()


def test_the_gate_is_shown_in_words_and_as_a_picture() -> None:
    lab = panel(study=found())
    assert "τ 1.00 of adapted, -0.33 of the parameter count" in lab.outcome.says.value
    assert GATE.in_words in lab.outcome.agreement.summary
    lab.close()
    lab = panel(study=replace(found(), agreement=None))
    assert lab.outcome.says.value == "" and lab.outcome.agreement.picture is None
    lab.close()


def test_the_paths_of_the_chosen_trial_are_lit_in_the_equation() -> None:
    space = SearchSpace.of(MODEL, modes="all")
    choices = {"BitFit": space.anchors()["BitFit"], "SSF": space.anchors()["SSF"]}
    trials = [
        replace(found().trials[n], params=space.params(choice), choice=space.written(choice), metric=0.5 + n / 10)
        for n, choice in enumerate(choices.values())
    ]
    lab = panel(study=SearchResult(tuple(trials)), modes="all")
    lab.map.number.value = 0
    assert "b_eff = b0 + E. E vector. A, B, C and D off." in lab._equation.value
    lab.map.number.value = 1
    assert "A vector, D vector, E vector. B and C off." in lab._equation.value
    lab.close()


def test_controls_make_the_space() -> None:
    lab = panel()
    lab.controls.method.value = "LoRA"
    assert lab.space.method.name == "lora" and "glora-away" in lab.controls.paths._dom_classes
    assert "LoRA: which ranks, where?" in lab._equation.value
    lab.controls.method.value = "GLoRA"
    lab.controls.paths.value = "all five paths in every mode"
    assert lab.space.size > 10**19 and "about <b>10<sup>19</sup>" in lab.controls.size.value
    lab.controls.per.value, lab.controls.paths.value = "layer", "the rank of B"
    assert len(lab.space.groups) == len(lab.space.layers) == 18
    lab.controls.ranks.value = ["2"]
    assert lab.space.size == 2**18 and lab.space.method.ranks == (2,)
    lab.controls.ranks.value = []
    assert "`ranks` (=[]) must have a rank to choose" in lab.problem and lab.space.size == 2**18
    lab.controls.ranks.value = ["1", "2"]
    assert lab.problem == "" and lab.errors == []
    lab.close()


def test_an_end_of_the_limit_follows_the_space_and_a_limit_within_stays() -> None:
    lab = panel()
    assert lab.controls.most >= 21_504
    lab.controls.ranks.value = ["1"]
    assert 2688 <= lab.controls.most < 3000
    lab.controls.limit.value = 1000
    lab.controls.ranks.value = ["1", "32"]
    assert lab.controls.most == 1000
    lab.close()
    with pytest.raises(ValueError, match=r"`limit` \(=10\) must be at least 384"):
        panel(limit=10)


def test_a_space_and_a_method_of_ones_own() -> None:
    class Mine(DeltaMethod):
        def shapes(self, out: int, in_: int, r: int) -> dict[str, tuple[int, ...]]:
            return {"down": (r, in_), "up": (out, r)}

        def delta(self, w0: Any, down: Any, up: Any) -> Any:
            return up @ down

    lab = panel(method=Mine, ranks=(1, 2))
    assert lab.space.method.name == "Mine" and "Mine: which ranks, where?" in lab._equation.value
    assert "method" not in lab.state and lab.state["own"]["method"] == {"class": "type"}
    lab.close()
    space = SearchSpace.of(MODEL, "lora", ranks=(1,), target_modules=["q_proj"])
    lab = panel(space=space)
    assert lab.space is space and "ranks" not in lab.state
    lab.close()


def test_a_study_of_another_space_is_shown_and_says_so() -> None:
    lab = panel(study=found(), modes={"A": ["vector", "none"], "B": ["lora", "none"]})
    assert len(lab.result.trials) == 60 and lab.config is None and lab.taken.button.disabled
    assert "`space` (='glora') must be the space that the study was made with" in lab.problem and lab.errors == []
    lab.close()
    lab = panel(study=found(), modes={"A": ["vector", "none"], "B": ["lora", "none"]}, space=SPACE)
    assert lab.problem == "" and lab.config is not None
    lab.close()


def test_a_search_that_was_stored_brings_its_space_and_what_each_choice_is_worth() -> None:
    kept = stored_search()
    lab = panel(study=kept)
    assert lab.result == kept.result and lab.chosen == kept.result.front[-1] and lab.session is None
    assert lab.path_map == stored_space().path_map(stored_space().read(lab.chosen.choice))
    assert lab.path_map.total == lab.chosen.params and lab.outcome.importance == kept.importance
    assert kept.result.agreement.in_words in lab.outcome.says.value and lab.problem == "" and lab.errors == []
    assert not lab._look_at_study()
    lab.close()


class Filled:
    """A study that somebody else fills: `refresh` reads what has come."""

    def __init__(self) -> None:
        self.space, self.result, self.there, self.fails = SPACE, SearchResult(()), 0, False
        self.total, self.running, self.storage = 60, 3, "search.journal"

    @property
    def trials(self) -> Any:
        return self.result.trials

    def refresh(self) -> None:
        if self.fails:
            raise OSError("the database is gone")
        self.result = SearchResult(found().trials[: self.there])


def test_a_study_that_others_fill_is_followed() -> None:
    study = Filled()
    lab = panel(study=study)
    assert lab.result.trials == ()
    study.there = 20
    assert lab._look_at_study() and len(lab.map.found.trials) == 20 and lab.chosen is not None
    assert lab.progress.line.value == "20 of 60 trials, 3 under way, in search.journal"
    points = lab.map.chooser.points
    assert lab._look_at_study() and lab.map.chooser.points is points  # nothing new, nothing sent
    study.fails = True
    assert not lab._look_at_study() and "the database is gone" in lab.problem
    lab.close()
    lab = panel(study=found())
    assert not lab._look_at_study()  # a record does not grow
    lab.close()


def test_the_same_panel_comes_of_its_state() -> None:
    lab = panel(study=found(), method="glora", limit=5000)
    lab.map.number.value = 7
    lab.controls.trials.value = 30
    assert lab.state["own"] == {"study": {"class": "SearchResult"}}
    again = SearchPanel.from_state(lab.state, study=found())
    assert again.state == lab.state and again.chosen == lab.chosen and again.snippet == lab.snippet
    lab.undo()
    lab.undo()
    assert lab.map.number.value == -1 and lab.chosen == lab.best
    lab.redo()
    assert lab.chosen.number == 7
    for one in (lab, again):
        one.close()


def test_a_limit_that_takes_a_chosen_trial_back_is_one_step() -> None:
    lab = panel(study=found(), limit=8000)
    send(lab.map.chooser, chosen=5)
    send(lab.controls.limit, value=4000.0)
    assert lab.map.number.value == -1
    lab.undo()
    assert (lab.map.number.value, lab.controls.most) == (5, 8000)
    lab.close()


def test_it_opens_without_optuna_and_search_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    lab = panel()
    lab.search()
    assert 'a search needs optuna, which cannot be imported here: pip install "glora-lab[search]"' in lab.problem
    assert lab.session is None and lab.errors == []
    lab.close()


def test_where_nothing_can_be_clicked_the_number_chooses_in_a_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLAB_RELEASE_TAG", "test")
    lab = panel(study=found())
    assert lab.map.chooser is None and lab.map.picture is None
    lab.map.number.value = 4
    assert "60 trials" in lab.map.figure.figure.layout.title.text and lab.chosen.number == 4
    marked = lab.map.figure.figure.data[-1]
    assert (marked.name, tuple(marked.x)) == ("chosen", (lab.chosen.params,))
    lab.close()


def test_what_only_looks_like_a_study_is_refused() -> None:
    with pytest.raises(ValueError, match="`study`"):
        panel(study=SimpleNamespace(trials=()))
