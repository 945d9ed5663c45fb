"""Every panel's state is one line of text: the same panel comes of it, and each step can be taken back."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from torch import nn

from glora_lab import panels
from glora_lab.adapters import GloraConfig, GraloraConfig
from glora_lab.models import load_model
from glora_lab.page import settings as steps
from glora_lab.page.closing import tree
from glora_lab.page.controls.ticks import Ticks
from glora_lab.page.controls.widgets import Again, Steady
from glora_lab.page.figure_slot import FigureSlot
from glora_lab.page.settings import rule
from glora_lab.panels import Panel, PathPanel, TrainPanel
from tests.browser.all_panels import PANELS
from tests.page.driving import allowed, send, sent
from tests.page.instances import INSTANCES


def adapted(config: type) -> nn.Module:
    return get_peft_model(load_model("digits-vit"), config(r=2, target_modules=["fc1"]))


MAKE: dict[str, Any] = {name: (getattr(panels, name), None) for name in PANELS} | {
    "PathPanel of an adapter": (PathPanel, GloraConfig),
    "BlockPanel of an adapter": (panels.BlockPanel, GraloraConfig),
    "BudgetPanel of a model": (panels.BudgetPanel, GraloraConfig),
    "MergePanel of an adapter": (panels.MergePanel, GloraConfig),
    "XrayPanel of an adapter": (panels.XrayPanel, LoraConfig),
}
Made = tuple[Panel, list[nn.Module]]


@pytest.fixture(params=MAKE)
def made(request: pytest.FixtureRequest) -> Iterator[Made]:
    """A panel, and what it was made of."""
    kind, config = MAKE[request.param]
    own = [] if config is None else [adapted(config)]
    panel = kind(*own)
    yield panel, own
    panel.close()
    assert panel.errors == []


def move(panel: Panel, dice: random.Random, folder: Path) -> Iterator[str]:
    """Set every setting to something else, as a page does; after each, its name."""
    for name, control in panel._settings().items():
        before = panel.state
        for _ in range(20):
            if panel.state != before:
                break
            if isinstance(control, Again):
                control.click()
            elif isinstance(control, Ticks):
                box = dice.choice(list(control.boxes.values()))
                send(box, value=not box.value)
            elif name == "folder":
                send(control, value=str(folder))
            elif (value := allowed(control, dice)) is not None:
                send(control, **{sent(control): value})
        yield name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter on disk."""
    path = tmp_path_factory.mktemp("adapter")
    adapted(LoraConfig).save_pretrained(str(path))
    return path


def drawn(panel: Panel) -> list[str]:
    """The data of every figure in the panel, and of the cells to click."""
    slots = [widget for widget in tree(panel) if isinstance(widget, FigureSlot) and widget.figure is not None]
    cells = [json.dumps(widget.grid) for widget in tree(panel) if widget.has_trait("grid")]
    return sorted([slot.figure.to_json() for slot in slots] + cells)


def test_the_last_steps_can_be_taken_back_and_no_more_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "MOST_STEPS", 3)
    panel = PathPanel()
    for rank in (9, 10, 11, 12, 13):
        panel.rank.value = rank
    for rank in (12, 11, 10, 10):
        panel.undo()
        assert panel.rank.value == rank
    panel.close()


def test_the_same_panel_comes_of_the_line(made: Made, folder: Path) -> None:
    panel, own = made
    list(move(panel, random.Random(0), folder))
    line = json.dumps(panel.state)
    again = type(panel).from_state(json.loads(line), *own)
    assert json.dumps(again.state) == line
    assert drawn(again) == drawn(panel)
    again.close()


def test_each_step_is_taken_back_and_again(made: Made, folder: Path) -> None:
    panel, _ = made
    states = [panel.state]
    for name in move(panel, random.Random(1), folder):
        if panel.state != states[-1]:
            states.append(panel.state)
        else:
            assert name in ("values", "m", "n", "change", "seed", "racing", "cells", "layer", "model", "task"), name
    assert len(states) > 2
    for state in states[-2::-1]:
        panel.undo()
        assert panel.state == state
    panel.undo()
    assert panel.state == states[0]
    for state in states[1:]:
        panel.redo()
        assert panel.state == state
    panel.reset()
    assert panel.state == states[0]
    panel.undo()
    assert panel.state == states[-1]


def refusal(kind: type[Panel], state: Any, *args: Any, **kwargs: Any) -> str:
    """What is said of a state that cannot be; no widget of it is left."""
    before = set(INSTANCES)
    with pytest.raises(ValueError) as refused:
        kind.from_state(state, *args, **kwargs)
    assert set(INSTANCES) - before == set()
    return str(refused.value)


@pytest.fixture(scope="module")
def state() -> dict[str, Any]:
    panel = PathPanel()
    panel.close()
    return panel.state


def test_every_key_that_cannot_be_is_named_with_its_value_and_the_rule(state: dict[str, Any]) -> None:
    wrong = {"colour": "red", "rank": 99, "form": 3, "A": "loud", "seed": -1, "made": {"size": 3}}
    assert "`made.size` (=3) is no argument of PathPanel" in refusal(PathPanel, {**state, **wrong})
    del wrong["made"]
    said = refusal(PathPanel, {**state, **wrong})
    assert said.startswith("PathPanel cannot take this state: ")
    assert "`colour` (='red') is no setting of PathPanel" in said
    assert "`rank` (=99) must be an integer from 1 to 32" in said
    assert "`form` (=3) must be one of 'elementwise', " in said
    assert "`A` (='loud') must be one of 'lora', " in said
    assert "`seed` (=-1) must be an integer that is at least 0" in said


@pytest.mark.parametrize(
    ("kind", "values", "says"),
    [
        (PathPanel, {"rank": True}, "`rank` (=True) must be an integer from 1 to 32"),
        (PathPanel, {"rank": 2.5}, "`rank` (=2.5) must be an integer from 1 to 32"),
        (panels.MergePanel, {"a": float("nan")}, "`a` (=nan) must be a number from -1.5 to 0.5"),
        (panels.MergePanel, {"precision": None}, "`precision` (=None) must be one of 'float32', 'float16', 'bfloat16'"),
        (TrainPanel, {"lr": 3}, "`lr` (=3) must be a number from 0.0001 to 0.1"),
        (TrainPanel, {"racing": ["LoRA", "mine"]}, "must be a list of names among 'LoRA', 'GLoRA', 'GraLoRA'"),
        (TrainPanel, {"folder": 3}, "`folder` (=3) must be text"),
        (TrainPanel, {"made": {"rank": 0}}, "`rank` (=0) must be an integer above 0"),
        (panels.MergePanel, {"made": {"cycles": []}}, "`cycles` (=[]) must be an integer above 0"),
    ],
)
def test_what_a_control_cannot_be(kind: type[Panel], values: dict[str, Any], says: str) -> None:
    assert says in refusal(kind, {"panel": kind.__name__, "version": 1, **values})


def test_a_state_of_another_panel_or_of_a_newer_version_is_refused_at_once(state: dict[str, Any]) -> None:
    said = refusal(TrainPanel, {**state, "version": 2})
    assert "`panel` (='PathPanel') must be 'TrainPanel', whose `from_state` was called" in said
    assert "`version` (=2) must be an integer from 1 to 1; the state is of a newer glora_lab" in said
    assert "`version` (=None)" in refusal(PathPanel, {"panel": "PathPanel"})
    assert "`state` (='PathPanel') must be a dict" in refusal(PathPanel, "PathPanel")
    assert "`own` (=[]) must be a dict" in refusal(PathPanel, {**state, "own": []})


def test_a_setting_that_an_older_state_does_not_have_is_where_the_panel_starts(state: dict[str, Any]) -> None:
    panel = PathPanel.from_state({name: value for name, value in {**state, "rank": 3}.items() if name != "form"})
    assert panel.state == {**state, "rank": 3}
    panel.close()


def test_a_model_of_ones_own_is_named_and_has_to_be_given_again() -> None:
    net = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 4))
    panel = PathPanel(net, "0")
    state = panel.state
    panel.close()
    assert state["own"] == {"model": {"class": "Sequential", "layer": [4, 6]}} and state["made"] == {"layer": "0"}
    assert "`model` (={'class': 'Sequential', 'layer': [4, 6]}) must be given again, as in PathPanel.from_state" in (
        refusal(PathPanel, state)
    )
    assert "had another layer; that of the one given is [8, 6]" in refusal(
        PathPanel, state, nn.Sequential(nn.Linear(6, 8))
    )
    without = nn.ModuleDict({"first": nn.Linear(6, 4)})
    assert "`layer` (='0') must name one layer" in refusal(PathPanel, state, without)
    del state["made"]
    assert "`layer` (='0') must be one of 'first'" in refusal(PathPanel, state, model=without)
    again = PathPanel.from_state(state, net)
    assert again.state == {**state}
    again.close()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_a_state_says_it_is_taken_whole_or_refused_by_its_keys(state: dict[str, Any], data: Any) -> None:
    name = data.draw(st.sampled_from([*state, "own", "made", "new"]))
    value = data.draw(json_values)
    panel = None
    try:
        panel = PathPanel.from_state({**state, name: value})
    except ValueError as refused:
        assert name in str(refused) or set(value) & set(str(refused)) or isinstance(value, dict)
    else:
        assert panel.state.get(name, {}) == value
    finally:
        if panel is not None:
            panel.close()


def test_what_fits_a_control_is_what_it_takes() -> None:
    panel = TrainPanel()
    for name, control in panel._settings().items():
        assert rule(control, panel.state[name]) == "" and rule(control, object()) != ""
    panel.close()


def test_one_action_is_one_step_with_all_that_it_moved() -> None:
    panel = TrainPanel()
    start = panel.state
    send(panel.controls.preset, index=1)
    moved = panel.state
    assert {name for name in start if start[name] != moved[name]} >= {"preset", "A", "C"}
    panel.undo()
    assert panel.state == start
    panel.redo()
    assert panel.state == moved
    panel.close()


def test_a_drag_is_one_step_and_a_new_step_forgets_what_was_undone() -> None:
    panel = PathPanel()
    for rank in range(9, 20):
        send(panel.rank, value=rank)
    panel.undo()
    assert panel.rank.value == 8
    send(panel.rank, value=4)
    panel.redo()
    assert panel.rank.value == 4
    panel.undo()
    assert panel.rank.value == 8
    panel.rank.value = 5  # in a cell each is a step
    panel.rank.value = 6
    panel.undo()
    assert panel.rank.value == 5
    panel.close()


def test_undo_leaves_a_run_alone() -> None:
    panel = TrainPanel(steps=2000)
    panel.controls.rank.value = 8
    panel.train()
    panel.controls.lr.value = 0.05
    session = panel.session
    panel.undo()
    panel.undo()
    assert panel.controls.rank.value == 4
    assert panel.session is session and panel.under_way
    panel.close()


def test_every_control_is_a_setting(made: Made) -> None:
    """But the fold, the text that a link comes by, and what is done with runs: which is kept, compared or renamed."""
    panel, _ = made
    known = list(panel._settings().values())
    known += [box for control in known if isinstance(control, Ticks) for box in control.boxes.values()]
    controls = [one for one in tree(panel) if isinstance(one, Steady) and one.has_trait("value")]
    left = {control.description for control in controls if control not in known and hasattr(control, "description")}
    assert left <= {"more", "state", "adapter", "compare", "name"}


def test_no_state_carries_the_folder_that_runs_are_kept_in(tmp_path: Path) -> None:
    """A path of whoever sends it. That none are kept is a setting, and a folder can be named where it arrives."""
    here, there = tmp_path / "here", tmp_path / "there"
    panel = TrainPanel(keep_runs=here, rank=2)
    assert panel.table._folder.path == here and str(tmp_path) not in json.dumps(panel.state) + panel._code()
    old = {**panel.state, "made": {"rank": 2, "keep_runs": str(here)}}
    again, elsewhere = TrainPanel.from_state(old), TrainPanel.from_state(old, keep_runs=there)
    assert again.table._folder.path is None and elsewhere.table._folder.path == there
    assert again.state == elsewhere.state == panel.state
    assert TrainPanel.from_state(TrainPanel(keep_runs=False).state).state["made"] == {"keep_runs": False}
    with pytest.raises(ValueError, match="`keep_runs`"):
        TrainPanel.from_state(panel.state, keep_runs=3)
