"""TrainPanel over the model that writes: the tasks it offers, and what it shows instead of images."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

import pytest

from glora_lab.figures import describe_writing, plot_writing
from glora_lab.ideas.training import panel_answers
from glora_lab.ideas.training import panel_live_run as live_run
from glora_lab.models import load_model
from glora_lab.panels import TrainPanel
from glora_lab.records import Writing
from glora_lab.training import PROMPTS, evaluate, write

FEW = {"preset": "LoRA (B alone)", "rank": 1, "steps": 2}


def test_it_starts_with_what_the_frozen_model_writes() -> None:
    panel = TrainPanel("bytes-llama", **FEW)
    assert panel.task.name == "text-capitals"
    assert [name for _, name in panel.controls.task.options] == ["text-capitals", "text"]
    assert panel.predictions == {"frozen": write(load_model("bytes-llama"), PROMPTS)}
    assert panel.live.answers.figure == plot_writing(panel.predictions)
    assert panel.live.answers.summary == describe_writing(panel.predictions)
    assert panel.errors == []


def test_a_run_shows_what_the_adapted_model_writes() -> None:
    panel = TrainPanel("bytes-llama", **FEW)
    panel.train()
    panel.wait()
    assert set(panel.predictions) == {"frozen", "adapted"} and panel.errors == []
    assert panel.predictions["adapted"] == write(panel.model, PROMPTS)
    assert panel.runs[0].metric == evaluate(panel.model, panel.task.test)
    assert "adapted: after" in panel.live.answers.summary


def test_a_race_shows_what_each_method_writes() -> None:
    panel = TrainPanel("bytes-llama", method="LoRA", preset="A + B", rank=2, k=2, steps=1)
    panel.race()
    panel.wait()
    assert list(panel.predictions) == ["frozen", "LoRA", "GLoRA", "GraLoRA"] and panel.errors == []
    assert all(isinstance(writing, Writing) for writing in panel.predictions.values())


def test_inert_paths_are_struck_and_bitfit_has_nothing_to_train() -> None:
    panel = TrainPanel("bytes-llama", preset="all paths", rank=1)
    assert set(panel.budget.inert_everywhere()) == {"C", "D", "E"}
    panel.controls.preset.value = "BitFit (E vector)"
    assert panel.budget.total == 0
    panel.train()
    assert panel.session is None and "bias" in panel.problem and panel.errors == []


def test_where_writing_takes_long_training_gets_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    panel, clock, asked = TrainPanel("bytes-llama", **{**FEW, "steps": 400}), Clock(), []

    def slowly(_: object, prompts: Sequence[str]) -> Writing:
        asked.append(clock.now)
        clock.now += 0.5
        return Writing(tuple(prompts), tuple("b" for _ in prompts))

    monkeypatch.setattr(panel_answers, "write", slowly)
    monkeypatch.setattr(live_run, "time", clock)
    panel.train()
    for _ in range(30):  # looks, each after another step and a tenth of a second of this clock
        seen = len(panel.steps)
        while len(panel.steps) == seen:
            time.sleep(0.005)
        panel.refresh()
        clock.now += 0.1
    first, second = asked  # a look that asks takes 0.5 s; the next may come 2 s after it
    assert 2.5 < second - first < 2.7 and not panel.errors
    panel.close()


class Clock:
    """Says what it is told."""

    now = 1.0

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize(("model", "task"), [("bytes-llama", "digits-turned"), ("digits-vit", "text-capitals")])
def test_a_task_of_another_kind_is_refused(model: str, task: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"`task` (={task!r}) must be one of")):
        TrainPanel(model, task)
