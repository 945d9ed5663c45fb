"""However long a panel is used there are as many widgets as at the start, and none, nor its model, after its end."""

from __future__ import annotations

import copy
import gc
import random
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from glora_lab import panels
from glora_lab.adapters import GloraConfig, GraloraConfig
from glora_lab.ideas.blocks import panel_block_map as block_map
from glora_lab.models import load_model
from glora_lab.panels import Panel
from tests.page.driving import allowed, controls, press, send, sent
from tests.page.instances import INSTANCES

CHANGES = 4  # what leaks, leaks with the second
QUICK: dict[str, Any] = {"engine": "short", "gate": 0, "steps": 1, "trials": 2, "keep_runs": False}


def adapted(config: type) -> nn.Module:
    return get_peft_model(load_model("digits-vit"), config(r=2, target_modules=["fc1"]))


MAKE: dict[str, tuple[Callable[[], nn.Module], Callable[[nn.Module], Panel]]] = {
    "PathPanel": (lambda: load_model("digits-vit"), panels.PathPanel),
    "PathPanel of an adapter": (lambda: adapted(GloraConfig), panels.PathPanel),
    "BudgetPanel": (lambda: load_model("digits-vit"), panels.BudgetPanel),
    "TrainPanel": (lambda: load_model("digits-vit"), lambda model: panels.TrainPanel(model, rank=1, steps=2)),
    "BlockPanel": (lambda: load_model("digits-vit"), panels.BlockPanel),
    "BlockPanel of an adapter": (lambda: adapted(GraloraConfig), panels.BlockPanel),
    "EntanglementPanel": (lambda: load_model("digits-vit"), lambda model: panels.EntanglementPanel(model, size=32)),
    "OutlierPanel": (lambda: load_model("digits-vit"), panels.OutlierPanel),
    "ReachPanel": (nn.Module, lambda _: panels.ReachPanel()),
    "XrayPanel": (lambda: adapted(LoraConfig), panels.XrayPanel),
    "XrayPanel with nothing open": (nn.Module, lambda _: panels.XrayPanel()),
    "MergePanel": (lambda: load_model("digits-vit"), lambda model: panels.MergePanel(model, cycles=2)),
    "SearchPanel": (lambda: load_model("digits-vit"), lambda model: panels.SearchPanel(model, **QUICK)),
}


@pytest.fixture(autouse=True)
def started() -> set[str]:
    gc.collect()
    return set(INSTANCES)


def use(panel: Panel) -> None:
    """Changes of each control, and back to where they were; presses of each button but those that train."""
    dice = random.Random(0)
    training = isinstance(panel, panels.TrainPanel | panels.SearchPanel)
    for control in controls(panel):
        if isinstance(control, widgets.Button):
            for _ in range(0 if training else CHANGES):
                press(control)
        elif control.comm is not None:  # a box of the model before is gone
            start = getattr(control, sent(control))
            for _ in range(CHANGES - 1):
                send(control, **{sent(control): allowed(control, dice)})
            send(control, **{sent(control): start})
    if isinstance(panel, panels.TrainPanel):
        for start_one in (panel.train, panel.race, panel.train):
            start_one()
            panel.wait()
    if isinstance(panel, panels.SearchPanel):
        for _ in range(2):
            panel.search()
            panel.wait()


@pytest.mark.parametrize("name", MAKE)
def test_use_adds_no_widget_and_the_end_leaves_none_and_no_model(name: str, started: set[str]) -> None:
    make_model, make_panel = MAKE[name]
    model = make_model()
    panel = make_panel(model)
    made = set(INSTANCES) - started
    use(panel)
    assert len(set(INSTANCES) - started) == len(made) and panel.errors == []
    panel.close()
    assert set(INSTANCES) - started == set()
    alive = [weakref.ref(panel), weakref.ref(model)]
    del panel, model
    gc.collect()
    assert [held() for held in alive] == [None, None]


def test_another_models_boxes_take_the_place_of_the_first_with_all_that_is_theirs(started: set[str]) -> None:
    panel = panels.BudgetPanel()
    names = panel.model_choice.options
    sizes = []
    for name in [*names[:3], *names[:3]]:
        panel.model_choice.value = name
        sizes.append(len(set(INSTANCES) - started))
    assert sizes[:3] == sizes[3:]
    panel.close()


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (panels.PathPanel, {"layer": "zzz"}),
        (panels.TrainPanel, {"model": "no-such-model"}),
        (panels.TrainPanel, {"rank": 0}),
        (panels.BlockPanel, {"k": 5}),
        (panels.BlockPanel, {"layer": "zzz"}),
        (panels.EntanglementPanel, {"layer": "zzz"}),
        (panels.OutlierPanel, {"layer": "zzz"}),
        (panels.ReachPanel, {"changes": []}),
        (panels.MergePanel, {"layer": "zzz"}),
    ],
    ids=str,
)
def test_a_panel_that_could_not_be_made_leaves_no_widget(kind: type, wrong: dict, started: set[str]) -> None:
    with pytest.raises(ValueError) as refusal:
        kind(**wrong)
    assert refusal and set(INSTANCES) - started == set()


def test_nor_does_a_page_that_cannot_be_clicked(monkeypatch: pytest.MonkeyPatch, started: set[str]) -> None:
    monkeypatch.setattr(block_map, "block_chooser", None)
    panel = panels.BlockPanel()
    made = len(set(INSTANCES) - started)
    use(panel)
    assert len(set(INSTANCES) - started) == made
    panel.close()
    assert set(INSTANCES) - started == set()


def test_a_closed_panel_that_trained_lets_its_adapters_go(tmp_path: Path) -> None:
    panel = panels.TrainPanel(copy.deepcopy(load_model("digits-vit")), rank=1, steps=5000)
    panel.keeping.folder.value = str(tmp_path / "kept")
    panel.train()
    panel.keep()
    session, alive = panel.session, [weakref.ref(panel), weakref.ref(panel.model), weakref.ref(panel._base)]
    panel.close()
    session.wait(300)
    del panel, session
    gc.collect()
    assert [held() for held in alive] == [None, None, None]


def test_seeds_are_left_alone() -> None:
    before = torch.get_rng_state()
    panel = panels.MergePanel(cycles=1)
    use(panel)
    panel.close()
    assert torch.equal(torch.get_rng_state(), before)
