"""TrainPanel: buttons move a real session, the panel shows where it is, runs are compared, an adapter is kept."""

from __future__ import annotations

import asyncio
import gc
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from glora_lab.adapters import load_adapter
from glora_lab.adapters.view import adapted_layers
from glora_lab.ideas.training import panel_answers
from glora_lab.models import load_model
from glora_lab.panels import TrainPanel
from glora_lab.records import Predictions
from glora_lab.training import evaluate, predict

FEW = {"preset": "LoRA (B alone)", "rank": 1, "steps": 6}


def until(condition: Callable[[], bool], seconds: float = 250) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def test_it_starts_with_the_frozen_models_answers() -> None:
    panel = TrainPanel()
    assert set(panel.predictions) == {"frozen"} and panel.predictions["frozen"].accuracy < 0.5
    eight = panel.task.test.one_of_each(8)  # those that the first notebook asks about, and answers with
    assert panel.predictions["frozen"] == predict(load_model("digits-vit"), eight)
    assert panel.predictions["frozen"].labels.tolist() == list(range(8))
    assert panel.budget.total > 0 and f"{panel.budget.total:,}" in panel.cost.value
    assert panel.steps == () and panel.runs == [] and panel.errors == []
    assert panel.pause_button.disabled and panel.stop_button.disabled and panel.keeping.button.disabled
    assert panel.live.curves.picture is None and "glora-away" in panel.live.curves._dom_classes  # no empty axes


def test_a_run_trains_the_adapter_and_joins_the_table() -> None:
    panel = TrainPanel(**FEW)
    panel.start_button.click()
    steps = panel.wait()
    assert [step.index for step in steps] == [1, 2, 3, 4, 5, 6] and panel.steps == steps
    (run,) = panel.runs
    assert run.name == "LoRA (B alone), rank 1" and run.steps == steps
    assert run.params == panel.budget.total == sum(p.numel() for p in panel.model.parameters() if p.requires_grad)
    assert run.metric == evaluate(panel.model, panel.task.test)
    assert "LoRA (B alone), rank 1" in panel.table.value and f"{run.metric:.1%}" in panel.table.value
    assert set(panel.predictions) == {"frozen", "adapted"}
    assert panel.live.progress.value == panel.live.progress.max == 6 and "done: step 6 of 6" in panel.live.status.value
    assert len(panel.live.curves.figure.data[0].x) == 6
    assert panel.errors == [] and not panel.start_button.disabled and panel.pause_button.disabled


def test_the_same_seed_gives_the_same_run_and_the_base_stays() -> None:
    panel = TrainPanel(**FEW)
    losses = []
    for _ in range(2):
        panel.train()
        losses.append([step.loss for step in panel.wait()])
    assert losses[0] == losses[1]
    assert [run.name for run in panel.runs] == ["LoRA (B alone), rank 1", "LoRA (B alone), rank 1 (2)"]
    assert "★" in panel.table.value
    panel.controls.seed.value = 1
    panel.train()
    assert [step.loss for step in panel.wait()] != losses[0]


def test_the_model_that_is_given_is_left_alone() -> None:
    base = load_model("digits-vit")
    weights = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    panel = TrainPanel(base, **FEW)
    panel.train()
    panel.wait()
    assert adapted_layers(base) == {} and len(adapted_layers(panel.model)) > 0
    torch.testing.assert_close(base.state_dict(), weights, rtol=0, atol=0)


def test_the_model_rests_while_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    panel, rested = TrainPanel(**FEW), []

    def asked(*arguments: object, **named: object) -> Predictions:
        rested.append(panel.session._model_in_use.locked())
        return predict(*arguments, **named)

    monkeypatch.setattr(panel_answers, "predict", asked)
    panel.train()
    panel.wait()
    assert rested and all(rested)


def test_pause_rests_and_resume_goes_on_and_stop_ends() -> None:
    panel = TrainPanel(preset="BitFit (E vector)", steps=5000)
    panel.start_button.click()
    until(lambda: len(panel.steps) > 2)
    panel.pause_button.click()
    until(lambda: panel.session.state == "paused")
    panel.refresh()
    resting = len(panel.steps)
    assert panel.pause_button.description == "Resume" and "paused" in panel.live.status.value
    time.sleep(0.1)
    assert len(panel.steps) == resting
    panel.pause_button.click()
    until(lambda: len(panel.steps) > resting)
    panel.stop_button.click()
    steps = panel.wait()
    assert panel.session.state == "stopped" and panel.runs[0].name == f"BitFit (E vector), stopped at {len(steps)}"
    assert panel.errors == []


def test_pressing_train_twice_starts_one_run() -> None:
    panel = TrainPanel(preset="BitFit (E vector)", steps=5000)
    panel.train()
    session = panel.session
    panel.train()
    assert panel.session is session
    panel.stop()
    panel.wait()


def test_in_an_event_loop_it_looks_by_itself() -> None:
    async def train() -> TrainPanel:
        panel = TrainPanel(**FEW)
        panel.train()
        while not panel.runs:  # the test's own limit ends what never comes
            await asyncio.sleep(0.05)
        return panel

    panel = asyncio.run(train())
    assert len(panel.runs) == 1 and panel.live.progress.value == 6 and panel.errors == []


def test_presets_and_modes_follow_each_other() -> None:
    panel = TrainPanel()
    panel.controls.preset.value = "SSF (A, D, E vector)"
    assert panel.config.modes == {"A": "vector", "B": "none", "C": "none", "D": "vector", "E": "vector"}
    panel.controls.modes.buttons["C"].value = "vector"
    assert panel.controls.preset.value == "own choice" and panel.config.modes["C"] == "vector"
    assert panel.controls.run_name == "A vector, C vector, D vector and E vector"
    panel.controls.modes.buttons["C"].value = "none"
    assert panel.controls.preset.value == "SSF (A, D, E vector)"


def test_nothing_to_train_is_said_and_is_no_error() -> None:
    panel = TrainPanel(**FEW)
    panel.controls.modes.set_modes({})
    assert "nothing to train" in panel.problem and panel.budget.total == 0
    panel.train()
    assert panel.session is None and "nothing to train" in panel.problem and panel.errors == []


def test_a_run_that_fails_says_why_and_joins_no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = TrainPanel(**FEW)
    monkeypatch.setattr(torch.Tensor, "backward", broken)
    panel.train()
    with pytest.raises(RuntimeError, match="no gradient today"):
        panel.wait()
    assert panel.runs == [] and panel.problem == "RuntimeError: no gradient today" and len(panel.errors) == 1
    panel.refresh()
    assert len(panel.errors) == 1
    panel.close()  # or the tests of all open panels find its error


def broken(*_: object, **__: object) -> None:
    raise RuntimeError("no gradient today")


def test_another_task_asks_the_frozen_model_anew_and_tells_runs_apart() -> None:
    panel = TrainPanel(**FEW)
    panel.train()
    panel.wait()
    before, old_task, model = panel.predictions["frozen"], panel.task, panel.model
    panel.controls.task.value = "digits-inverted"
    assert panel.task.name == "digits-inverted" and panel.runs[0].metric == evaluate(model, old_task.test)
    assert set(panel.predictions) == {"frozen"} and panel.predictions["frozen"] != before
    panel.controls.steps.value = 4
    panel.train()
    panel.wait()
    assert [(run.name, run.task) for run in panel.runs] == [
        ("LoRA (B alone), rank 1", "digits-turned"),
        ("LoRA (B alone), rank 1 (2)", "digits-inverted"),
    ]
    assert len(panel.live.curves.figure.data) == 2  # loss and accuracy of this task's run alone


def test_a_run_that_ended_unseen_is_recorded_before_anything_begins() -> None:
    panel = TrainPanel(**FEW)
    panel.train()
    panel.session.wait()  # not the panel's own wait: nobody has looked
    panel.train()
    panel.session.wait()
    old_task, model = panel.task, panel.model
    panel.controls.task.value = "digits-inverted"
    first, second = panel.runs
    assert len(first.steps) == len(second.steps) == 6 and second.metric == evaluate(model, old_task.test)
    assert panel.task.name == "digits-inverted" and panel.errors == []


def test_the_first_adapter_can_be_kept_while_it_trains(tmp_path: Path) -> None:
    panel = TrainPanel(preset="BitFit (E vector)", steps=5000)
    panel.keeping.folder.value = str(tmp_path / "early")
    panel.train()
    panel.keep()
    assert panel.model is not None and panel.keeping.kept == tmp_path / "early" and panel.problem == ""
    panel.close()


def test_an_adapter_is_kept_and_loads_again(tmp_path: Path) -> None:
    panel = TrainPanel(**FEW)
    panel.keep()
    assert "press Train first" in panel.problem
    panel.train()
    panel.wait()
    panel.keeping.folder.value = str(tmp_path / "kept")
    panel.keeping.button.click()
    assert panel.keeping.kept == tmp_path / "kept" and panel.errors == [] and panel.problem == ""
    again = load_adapter(load_model("digits-vit"), tmp_path / "kept")
    assert evaluate(again, panel.task.test) == panel.runs[0].metric
    assert "load_adapter(load_model(&quot;digits-vit&quot;)" in panel.keeping.says.value


@pytest.mark.parametrize("name", ["", "  "])
def test_a_folder_needs_a_name(name: str) -> None:
    panel = TrainPanel(**FEW)
    panel.train()
    panel.wait()
    panel.keeping.folder.value = name
    panel.keep()
    assert "must name a folder" in panel.problem and panel.errors == [] and panel.keeping.kept is None


def test_closing_the_panel_stops_training() -> None:
    panel = TrainPanel(preset="BitFit (E vector)", steps=5000)
    panel.train()
    session = panel.session
    panel.close()
    session.wait(250)
    assert session.state == "stopped"


def test_a_closed_panel_looks_no_more() -> None:
    async def train_and_close() -> TrainPanel:
        panel = TrainPanel(preset="BitFit (E vector)", steps=5000)
        panel.train()
        while not panel.steps:
            await asyncio.sleep(0.05)
        panel.close()
        panel.session.wait(250)
        await asyncio.sleep(0.3)
        return panel

    panel = asyncio.run(train_and_close())
    assert panel.steps and panel.runs == []


@pytest.mark.parametrize(
    "wrong",
    [{"task": "zzz"}, {"preset": "zzz"}, {"rank": 0}, {"lr": -1.0}, {"steps": 0}, {"seed": -1}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_wrong_start_is_refused_by_name_and_value(wrong: dict[str, object]) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=re.escape(f"`{name}` (={value!r})")):
        TrainPanel(**wrong)  # type: ignore[arg-type]


def test_a_start_beyond_the_usual_moves_the_ends_of_the_sliders() -> None:
    controls = TrainPanel(rank=48, lr=0.5, steps=20_000).controls
    assert (controls.rank.value, controls.lr.value, controls.steps.value) == (48, 0.5, 20_000)


def test_a_panel_that_could_not_be_made_leaves_nothing_to_complain_of() -> None:
    with pytest.raises(ValueError, match="`name_or_path`"):
        TrainPanel("no-such-model")
    gc.collect()  # an error in __del__ would be a warning, and warnings are errors here
