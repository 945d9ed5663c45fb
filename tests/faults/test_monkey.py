"""A monkey at all ten panels: whatever it moves, types and presses, each shows what is right or refuses in words."""

from __future__ import annotations

import gc
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import pytest
import torch

from glora_lab import panels
from glora_lab.adapters import GraloraConfig
from glora_lab.page.closing import tree
from glora_lab.page.controls.widgets import Chosen
from glora_lab.panels import Panel
from tests.faults.counts import COUNTED
from tests.faults.monkey_panels import SUBJECTS, adapted
from tests.page.driving import ANYTHING, allowed, controls, name_of, press, send, sent
from tests.page.instances import INSTANCES

EVENTS, SEED = 500, 14
AT_ONE_PANEL = 5  # events, before it goes to another
FEW_STEPS, MANY_STEPS = (1, 2), 10_000  # a run that ends at once, and one that ends when it is stopped
SECONDS = 250.0  # that nothing here takes


class Monkey:
    """Makes, uses and closes the panels; `counts` says what it did and what came of it."""

    def __init__(self, folder: Path, started: set[str]) -> None:
        self.dice, self.counts, self.started = random.Random(SEED), Counter[str](), started
        self.folders = [str(folder / "adapter")] * 10 + [str(folder / "kept"), str(folder / "a file"), "nowhere"]
        self.folders += ["", "  ", "~nobody/x", "x" * 300, "\0", "."]
        self.models = {name: subject.model() for name, subject in SUBJECTS.items()}
        self.weights = {name: _copied(model) for name, model in self.models.items()}
        self.panels: dict[str, Panel] = {}
        for name in SUBJECTS:
            self.make(name)

    def make(self, name: str) -> None:
        if name in self.panels:
            self.panels[name].close()
        self.panels[name] = SUBJECTS[name].panel(self.models[name])

    def play(self, events: int) -> None:
        """So many events, in bursts at one panel or another, a run that goes on pausing between them."""
        rounds = -(-events // AT_ONE_PANEL // len(SUBJECTS))
        turns = [name for _ in range(rounds) for name in self.dice.sample(list(SUBJECTS), len(SUBJECTS))]
        for name in turns[: events // AT_ONE_PANEL]:
            for _ in range(AT_ONE_PANEL):
                what = self.act(name)
                self.settle(name)
                self.counts[f"{name}: {self.outcome(name, what)}"] += 1
            self.rest(self.panels[name])

    def act(self, name: str) -> str:
        """One event; what it was."""
        panel, dice = self.panels[name], self.dice
        kind = dice.choices(["move", "wrong", "none", "press", "close"], [9, 5, 2, 5, 1])[0]
        self.counts[kind] += 1
        if kind == "close":
            self.make(name)
            return kind
        buttons = [control for control in controls(panel) if isinstance(control, widgets.Button)]
        movable = [control for control in controls(panel) if not isinstance(control, widgets.Button)]
        control = dice.choice(buttons or movable) if kind == "press" else dice.choice(movable)
        if isinstance(control, widgets.Button):
            press(control)
        elif kind == "move":
            send(control, **{sent(control): self.allowed(panel, control)})
        elif kind == "none" and isinstance(control, Chosen):
            control.value = None
        else:
            send(control, **{sent(control): dice.choice(ANYTHING)})
        return f"{kind} {name_of(control)}"

    def allowed(self, panel: Panel, control: widgets.Widget) -> Any:
        if isinstance(control, widgets.Text):
            return self.dice.choice(self.folders)
        if isinstance(panel, panels.TrainPanel) and control is panel.controls.steps:
            return self.dice.choice((*FEW_STEPS, MANY_STEPS))
        if isinstance(panel, panels.SearchPanel) and control in (panel.controls.steps, panel.controls.trials):
            return self.dice.choice(FEW_STEPS)
        return allowed(control, self.dice)

    def settle(self, name: str) -> None:
        """Wait for the state that a press leads to, and look."""
        panel = self.panels[name]
        if isinstance(panel, panels.TrainPanel) and panel.session is not None:
            session = panel.session
            few = session.total < MANY_STEPS
            until(lambda: session.finished or session.state == "paused" or (session.state == "running" and not few))
            panel.refresh()
        if isinstance(panel, panels.SearchPanel) and panel.under_way:
            until(lambda: panel.session.finished or panel.session.state in ("running", "paused"))
            panel.refresh()

    def rest(self, panel: Panel) -> None:
        if isinstance(panel, panels.SearchPanel) and panel.under_way:
            panel.stop()
            until(lambda: panel.session.finished)
            panel.refresh()
        if isinstance(panel, panels.TrainPanel) and panel.under_way and panel.session.state == "running":
            panel.pause_or_resume()
            until(lambda: panel.session.state in ("paused", "stopped", "done"))
            panel.refresh()

    def outcome(self, name: str, what: str) -> str:
        """ "right" or "refused", and nothing lost, left or changed by the way."""
        panel = self.panels[name]
        assert panel.errors == [], what
        ours = {id(widget) for each in self.panels.values() for widget in tree(each) if widget.comm is not None}
        assert len(INSTANCES.keys() - self.started) == len(ours), f"{what}: widgets of no panel"
        assert _same(self.models[name], self.weights[name]), f"{what} changed the caller's model"
        if panel.problem:
            assert "Error" not in panel.problem, panel.problem
            return "refused"
        assert SUBJECTS[name].right(panel), f"{what}: {name} shows what its controls do not say"
        return "right"


def _copied(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def _same(model: torch.nn.Module, weights: dict[str, torch.Tensor]) -> bool:
    now = model.state_dict()
    return now.keys() == weights.keys() and all(torch.equal(now[name], weights[name]) for name in now)


def until(condition: Callable[[], bool], told: Callable[[], object] = str) -> None:
    """Wait for a state, however slow the machine is; `told` says what there is instead."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, f"waited in vain: {told()}"
        time.sleep(0.002)


def left() -> set[threading.Thread]:
    """The threads that there are but for tqdm's own, which begins with the first bar that something shows."""
    return {thread for thread in threading.enumerate() if thread.name != "tqdm_monitor"}


@pytest.mark.timeout(1200)
def test_500_events_leave_what_is_right_or_a_refusal_in_words(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    record_property: Callable[[str, object], None],
) -> None:
    gc.collect()
    threads, started = left(), set(INSTANCES)
    monkeypatch.chdir(tmp_path)  # what it types may name a folder to keep an adapter in
    monkeypatch.setenv("HOME", str(tmp_path))
    adapted(GraloraConfig).save_pretrained(tmp_path / "adapter")
    (tmp_path / "a file").write_text("no folder")
    monkey = Monkey(tmp_path, started)
    monkey.play(EVENTS)
    open_at_end = list(monkey.panels.values())
    assert all(panel.errors == [] for panel in open_at_end)
    for panel in open_at_end:
        panel.close()
    until(lambda: left() <= threads, left)
    assert set(INSTANCES) - started == set()
    raised = [record for record in caplog.records if record.exc_info]  # ipywidgets logs what a button's handler raises
    assert raised == []
    outcomes = {name: count for name, count in monkey.counts.items() if ":" in name}
    assert sum(outcomes.values()) == EVENTS and {name.split(": ")[1] for name in outcomes} == {"right", "refused"}
    record_property(
        COUNTED, [f"{EVENTS} events", *(f"{name} {count}" for name, count in sorted(monkey.counts.items()))]
    )
