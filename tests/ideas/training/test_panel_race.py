"""A race from the panel: equal parameters, one seed, three curves, and what becomes of those who stop or fail."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoraConfig

from glora_lab.drawing.theme import METHOD_COLORS
from glora_lab.measure import path_budget
from glora_lab.models import load_model
from glora_lab.panels import TrainPanel
from glora_lab.training import Race, evaluate

START: dict[str, Any] = {"method": "LoRA", "rank": 4, "preset": "A + B", "k": 4, "steps": 4}
NAMES = ["LoRA, rank 4", "GLoRA A+B, rank 2", "GraLoRA, rank 4, k 4"]


def until(condition: Callable[[], bool], seconds: float = 250) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def raced(**start: Any) -> TrainPanel:
    panel = TrainPanel(**{**START, **start})
    panel.racing.button.click()
    panel.wait()
    return panel


def test_three_methods_race_at_equal_parameters_from_one_seed() -> None:
    panel = raced()
    assert [run.name for run in panel.runs] == NAMES
    assert {run.params for run in panel.runs} == {panel.budget.total} == {10_752}
    assert isinstance(panel.session, Race) and all(len(run.steps) == 4 for run in panel.runs)
    first = [run.steps[0].loss for run in panel.runs]
    assert max(first) - min(first) < 1e-5  # all start as the frozen model, and see the same batch
    assert len({run.steps[-1].loss for run in panel.runs}) == 3
    assert all(name in panel.table.value for name in NAMES)
    assert panel.errors == [] and panel.problem == ""


def test_a_racer_is_what_it_would_be_alone() -> None:
    panel = raced()
    for run, method in zip(panel.runs, ("LoRA", "GLoRA", "GraLoRA"), strict=True):
        alone = TrainPanel(**{**START, "method": method, "rank": 2 if method == "GLoRA" else 4})
        alone.train()
        assert [step.loss for step in alone.wait()] == [step.loss for step in run.steps]
        assert alone.runs[0].metric == run.metric


def test_the_curves_stand_in_one_figure_in_their_methods_colours() -> None:
    panel = raced()
    traces = {trace.name: trace for trace in panel.live.curves.figure.data if trace.xaxis != "x2"}
    assert list(traces) == NAMES and all(len(trace.x) == 4 for trace in traces.values())
    colors = [trace.line.color for trace in traces.values()]
    assert colors == [METHOD_COLORS[method] for method in ("LoRA", "GLoRA", "GraLoRA")]
    assert list(panel.predictions) == ["frozen", "LoRA", "GLoRA", "GraLoRA"]
    assert panel.live.progress.value == panel.live.progress.max == 4
    assert "done: step 4 of 4 each" in panel.live.status.value


def test_what_each_gets_is_said_before_the_race_and_after() -> None:
    panel = TrainPanel(**START)
    assert panel.racing.words.startswith("LoRA, rank 4: 10,752 parameters; GLoRA A+B, rank 2: 10,752 parameters; ")
    assert (
        panel.racing.button.description == "Race at equal parameters" and "glora-away" in panel.racing.take._dom_classes
    )
    panel.controls.methods.method.value = "GLoRA"
    panel.controls.preset.value = "all paths"
    said = panel.racing.words
    assert said.startswith("LoRA, rank 11: 29,568 parameters; GLoRA A+B+C+D+E, rank 4: 29,640 ")
    assert "Not at equal parameters: GraLoRA, rank 8, k 4 has 27.4% fewer than the largest" in said
    assert panel.racing.button.description == "Race, not at equal parameters"
    panel.race()
    panel.wait()
    assert [run.params for run in panel.runs] == [29_568, 29_640, 21_504]
    assert said.startswith(panel.racing.words.partition(" All have")[0])
    assert panel.live.curves.figure.layout.title.text.endswith(", not at equal parameters")


def test_one_press_takes_the_nearest_ranks_that_are_equal() -> None:
    panel = TrainPanel(**{**START, "method": "GLoRA", "preset": "all paths", "k": 2, "rank": 1})
    assert "LoRA, rank 3: 8,064 parameters; GLoRA A+B+C+D+E, rank 1: 9,426 parameters" in panel.racing.words
    assert "is equal, at 16,164 parameters: LoRA rank 6, GLoRA rank 2, GraLoRA rank 6." in panel.racing.words
    assert panel.racing.take.description == "Make it equal, at 16,164 parameters"
    panel.racing.take.click()
    assert panel.controls.rank.value == 2 and "glora-away" in panel.racing.take._dom_classes
    assert "Equal within 2%" in panel.racing.words
    panel.race()
    panel.wait()
    assert [run.params for run in panel.runs] == [16_128, 16_164, 16_128] and panel.errors == []
    assert panel.live.curves.figure.layout.title.text.endswith(", at equal parameters")


def test_a_box_that_is_ticked_changes_what_is_said() -> None:
    panel = TrainPanel(**{**START, "method": "GLoRA", "preset": "all paths", "rank": 4})
    panel.racing.boxes["GraLoRA"].value = False
    assert "GraLoRA" not in panel.racing.words and "Equal within 2%" in panel.racing.words
    panel.racing.boxes["LoRA"].value = False
    assert "must name two methods or more" in panel.racing.words and panel.problem == ""


@pytest.mark.parametrize("left_out", ["LoRA", "GLoRA", "GraLoRA"])
def test_two_may_race_and_the_controls_own_method_need_not_be_one(left_out: str) -> None:
    panel = TrainPanel(**START)
    panel.racing.boxes[left_out].value = False
    panel.race()
    panel.wait()
    assert [run.name for run in panel.runs] == [name for name in NAMES if name.split()[0].rstrip(",") != left_out]
    assert {run.params for run in panel.runs} == {10_752}


def refused(panel: TrainPanel) -> str:
    panel.race()
    assert panel.session is None and panel.runs == [] and panel.errors == []
    return panel.problem


def test_a_race_that_cannot_be_is_refused_with_the_reason() -> None:
    panel = TrainPanel(**START)
    panel.racing.boxes["LoRA"].value = panel.racing.boxes["GLoRA"].value = False
    assert "must name two methods or more" in refused(panel)
    bitfit = TrainPanel(preset="BitFit (E vector)")
    assert "LoRA cannot race with 1,344 parameters: `params` (=1,344) must be at least 2,688" in refused(bitfit)
    assert "GraLoRA cannot race with 10,752 parameters: `k` (=3) must divide" in refused(
        TrainPanel(**{**START, "k": 3})
    )
    assert "`k` (=3) must divide" in refused(TrainPanel(**{**START, "method": "GraLoRA", "k": 3}))


def test_one_without_a_rank_races_for_what_it_is() -> None:
    panel = TrainPanel(**{**START, "preset": "BitFit (E vector)"})
    assert "Not at equal parameters: GLoRA E has 87.5% fewer" in panel.racing.words
    assert "No ranks near these make them equal" in panel.racing.words


def test_a_budget_that_is_too_small_for_one_comes_with_the_nearest_for_all() -> None:
    panel = TrainPanel(**{**START, "rank": 1})
    assert "GLoRA cannot race with 2,688 parameters: `params` (=2,688) must be at least 5,376" in panel.racing.words
    assert "at 10,752 parameters: LoRA rank 4, GLoRA rank 2, GraLoRA rank 4." in panel.racing.words
    assert "GLoRA cannot race" in refused(panel)
    panel.racing.take.click()
    assert panel.controls.rank.value == 4 and panel.problem == "" and "The same number" in panel.racing.words


def test_scaling_follows_the_rank_that_a_racer_gets() -> None:
    panel = TrainPanel(**{**START, "method": "GLoRA", "rank": 4})
    panel.controls.methods.alpha.label = "2 × rank"
    panel.controls.methods.hybrid.value = 2
    panel.race()
    panel.wait()
    lora, _, gralora = (model.peft_config["default"] for model in panel._begun.models.values())
    assert isinstance(lora, LoraConfig) and (lora.r, lora.lora_alpha) == (8, 16)
    assert (gralora.r, gralora.hybrid_r, gralora.alpha) == (4, 2, 12)
    assert panel.runs[2].name == "GraLoRA, rank 4, k 4, hybrid rank 2, alpha 2 × rank"


def test_the_model_that_is_given_is_left_alone() -> None:
    base = load_model("digits-vit")
    weights = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    panel = TrainPanel(base, **START)
    panel.race()
    panel.wait()
    torch.testing.assert_close(base.state_dict(), weights, rtol=0, atol=0)


def test_pause_and_stop_are_for_all_and_each_leaves_its_run() -> None:
    panel = TrainPanel(**{**START, "steps": 5000})
    panel.race()
    until(lambda: len(panel.steps) > 4)
    panel.race()  # does nothing while one is under way
    panel.train()
    session = panel.session
    panel.pause_button.click()
    until(lambda: panel.session.state == "paused")
    panel.refresh()
    assert panel.pause_button.description == "Resume" and panel.racing.button.disabled and panel.start_button.disabled
    panel.pause_button.click()
    panel.stop_button.click()
    panel.wait()
    assert panel.session is session
    assert [run.name for run in panel.runs] == [
        f"{name}, stopped at {len(run.steps)}" for name, run in zip(NAMES, panel.runs, strict=True)
    ]
    assert 0 <= len(panel.runs[0].steps) - len(panel.runs[2].steps) <= 1
    assert not panel.racing.button.disabled and panel.errors == []


def test_one_that_fails_drops_out_is_shown_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = TrainPanel(**START)
    multiply, calls = torch.bmm, []

    def fails(*arguments: object, **keywords: object) -> object:
        """GraLoRA's blocks alone are multiplied by bmm: here they fail in the second step of training."""
        in_training = threading.current_thread() is not threading.main_thread()
        calls.extend([1] * in_training)
        if in_training and len(calls) > 36 * 3:  # two products a layer; a step, a measurement, half a step
            raise RuntimeError("no blocks today")
        return multiply(*arguments, **keywords)

    monkeypatch.setattr(torch, "bmm", fails)
    panel.race()
    with pytest.raises(RuntimeError, match="no blocks today"):
        panel.wait()
    monkeypatch.undo()
    assert [run.name for run in panel.runs] == NAMES[:2] and all(len(run.steps) == 4 for run in panel.runs)
    assert panel.problem == "GraLoRA, rank 4, k 4 dropped out: RuntimeError: no blocks today"
    assert len(panel.errors) == 1
    panel.refresh()
    assert len(panel.errors) == 1 and len(panel.runs) == 2
    panel.close()  # or its error would be met by whoever asks all panels next


def test_the_best_is_the_one_to_keep_and_another_may_be_chosen() -> None:
    panel = raced(steps=12)
    which = panel.keeping.which
    assert list(which.options) == NAMES and "glora-away" not in which._dom_classes
    best = max(panel.runs, key=lambda run: run.validation)
    assert which.value == best.name and evaluate(panel.model, panel.task.test) == best.metric
    which.value = NAMES[2]
    assert path_budget(panel.model).method == "GraLoRA"
    panel.train()
    panel.wait()
    assert "glora-away" in which._dom_classes and panel.model is not None and path_budget(panel.model).method == "LoRA"


def test_what_the_reader_chooses_during_the_race_stays() -> None:
    best = max(raced(steps=12).runs, key=lambda run: run.validation).name
    other = next(name for name in NAMES if name != best)
    panel = TrainPanel(**{**START, "steps": 12})
    panel.race()
    panel.keeping.which.value = best
    panel.keeping.which.value = other
    panel.wait()
    assert max(panel.runs, key=lambda run: run.validation).name == best and panel.keeping.which.value == other
    panel.race()  # which offers others: the choice is forgotten
    panel.wait()
    assert panel.keeping.which.value == f"{best} (2)"


def test_a_second_race_and_a_run_after_it_are_told_apart() -> None:
    panel = raced()
    panel.race()
    panel.wait()
    assert [run.name for run in panel.runs[3:]] == [f"{name} (2)" for name in NAMES]
    assert [run.metric for run in panel.runs[:3]] == [run.metric for run in panel.runs[3:]]
    assert len(panel.live.curves.figure.data) == 6
    panel.train()
    panel.wait()
    assert list(panel.predictions) == ["frozen", "adapted"] and panel.runs[-1].name == "LoRA, rank 4 (3)"
    colors = [trace.line.color for trace in panel.live.curves.figure.data]
    assert len(set(colors)) == len(colors) / 2 == 5  # four earlier runs stay


def test_on_another_task_the_colours_stay_the_methods() -> None:
    panel = raced(steps=2)
    panel.controls.task.value = "digits-inverted"
    panel.race()
    panel.wait()
    assert panel.runs[-1].name == "GraLoRA, rank 4, k 4 (2)" and panel.runs[-1].task == "digits-inverted"
    assert panel.live.curves.figure.data[-1].line.color == METHOD_COLORS["GraLoRA"]


def test_in_an_event_loop_it_looks_by_itself() -> None:
    async def race() -> TrainPanel:
        panel = TrainPanel(**START)
        panel.race()
        while not panel.runs:  # the test's own limit ends what never comes
            await asyncio.sleep(0.05)
        return panel

    panel = asyncio.run(race())
    assert len(panel.runs) == 3 and panel.errors == []
