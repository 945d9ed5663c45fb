"""What a panel says stays as long as what it refers to is there, whatever else a reader moves meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from glora_lab.page.panel import guarded, guarded_about
from glora_lab.panels import BlockPanel, BudgetPanel, EntanglementPanel, Panel, TrainPanel, XrayPanel


class Shop(Panel):
    """Refuses a size and a colour, each by itself, and answers in passing."""

    @guarded_about("size")
    def size(self, wrong: bool) -> None:
        if wrong:
            self.say("no such size")

    @guarded_about("colour")
    def colour(self, wrong: bool) -> None:
        if wrong:
            raise ValueError("no such colour")

    @guarded
    def ask(self, answer: str = "") -> None:
        self.say(answer)


@pytest.fixture
def shop() -> Iterator[Shop]:
    panel = Shop()
    yield panel
    panel.close()


def test_a_refusal_stands_until_its_subject_is_asked_about_again(shop: Shop) -> None:
    shop.size(True)
    shop.colour(False)
    shop.ask()
    assert shop.problem == "no such size" and "no such size" in shop.error_line.value
    shop.size(False)
    assert shop.problem == shop.error_line.value == ""


def test_two_stand_side_by_side_the_latest_first_and_each_once(shop: Shop) -> None:
    shop.size(True)
    shop.colour(True)
    shop.colour(True)
    assert shop.problem == "no such colour\nno such size"
    assert shop.error_line.value.count('role="alert"') == 2 and len(shop.errors) == 2
    shop.colour(False)
    assert shop.problem == "no such size"


def test_an_answer_in_passing_goes_with_the_next(shop: Shop) -> None:
    shop.ask("sold out")
    assert shop.problem == "sold out"
    shop.colour(False)
    assert shop.problem == ""


def an_impossible_k() -> TrainPanel:
    panel = TrainPanel(method="GraLoRA", rank=4, k=2, steps=1)
    panel.controls.methods.k.value = 3
    return panel


def no_folder_to_keep_in() -> TrainPanel:
    panel = TrainPanel(steps=1)
    panel.train()
    panel.wait()
    panel.keeping.folder.value = " "
    panel.keep()
    return panel


def one_racer() -> TrainPanel:
    panel = TrainPanel(steps=1)
    for method in ("LoRA", "GLoRA"):
        panel.racing.boxes[method].value = False
    panel.race()
    return panel


def nothing_to_keep() -> TrainPanel:
    panel = TrainPanel(steps=1)
    panel.keep()
    return panel


def a_folder_that_is_not_there() -> XrayPanel:
    panel = XrayPanel(get_peft_model(nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Linear(4, 4)}), LORA))
    panel.folder.value = "nowhere"
    return panel


def nothing_to_train() -> BudgetPanel:
    panel = BudgetPanel()
    panel.modes.set_modes({})
    return panel


class HalfUsed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.idle, self.used = nn.Linear(3, 3), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.used(x)


def k_beside_a_layer_that_is_refused() -> EntanglementPanel:
    panel = EntanglementPanel(HalfUsed(), (torch.randn(4, 8), torch.randn(4, 8)), size=16, rank=8, k=2)
    panel.k.value = 3
    return panel


LORA = LoraConfig(r=1, target_modules=["a", "b"])
Steps = dict[str, Callable[[Panel], object]]
STANDING: dict[str, tuple[Callable[[], Panel], str, Steps, Callable[[Panel], object]]] = {
    "k": (
        an_impossible_k,
        "`k` (=3) must divide",
        {
            "task": lambda panel: setattr(panel.controls.task, "value", "digits-inverted"),
            "keep": lambda panel: panel.keep(),
            "steps": lambda panel: setattr(panel.controls.steps, "value", 7),
            "train": lambda panel: panel.train(),
            "stop": lambda panel: panel.stop(),
        },
        lambda panel: setattr(panel.controls.methods.k, "value", 2),
    ),
    "folder to keep in": (
        no_folder_to_keep_in,
        "`folder` (='",
        {
            "rank": lambda panel: setattr(panel.controls.rank, "value", 3),
            "train": lambda panel: (panel.train(), panel.wait()),
            "keep": lambda panel: panel.keep(),
        },
        lambda panel: setattr(panel.keeping.folder, "value", "kept"),
    ),
    "racers": (
        one_racer,
        "must name two methods or more",
        {"folder": lambda panel: setattr(panel.keeping.folder, "value", "x"), "stop": lambda panel: panel.stop()},
        lambda panel: setattr(panel.racing.boxes["LoRA"], "value", True),
    ),
    "adapter to keep": (
        nothing_to_keep,
        "press Train first",
        {
            "rank": lambda panel: setattr(panel.controls.rank, "value", 3),
            "folder": lambda panel: setattr(panel.keeping.folder, "value", "x"),
        },
        lambda panel: (panel.train(), panel.wait()),
    ),
    "folder to open": (
        a_folder_that_is_not_there,
        "`path_or_model` (='nowhere')",
        {
            "cells": lambda panel: setattr(panel.values, "index", 1),
            "layer": lambda panel: setattr(panel.layer_choice, "index", 1 - panel.layer_choice.index),
        },
        lambda panel: None,
    ),
    "modes": (
        nothing_to_train,
        "nothing to train",
        {"code": lambda panel: setattr(panel.code_for, "index", 1)},
        lambda panel: panel.modes.set_modes({"B": "lora"}),
    ),
    "k of a layer": (
        k_beside_a_layer_that_is_refused,
        "`k` (=3) must divide",
        {
            "a layer that is refused": lambda panel: setattr(panel.layer_choice, "value", "idle"),
            "magnitude": lambda panel: setattr(panel.magnitude, "value", 3.0),
        },
        lambda panel: setattr(panel.k, "value", 4),
    ),
    "k of blocks": (
        lambda: BlockPanel(nn.ModuleDict({"square": nn.Linear(32, 32)}), k=4, r=8),
        "",
        {
            "an impossible r": lambda panel: setattr(panel.controls.r, "value", 6),
            "a block": lambda panel: panel.select(1, 1),
            "other values": lambda panel: panel.again.click(),
        },
        lambda panel: setattr(panel.controls.k, "value", 2),
    ),
}


@pytest.mark.parametrize("name", STANDING)
def test_it_stands_while_other_controls_move_and_goes_with_its_reason(name: str, tmp_path: Path) -> None:
    make, says, others, mend = STANDING[name]
    panel = make()
    for what, move in others.items():
        move(panel)
        assert (says or "`gralora_k` (=4)") in panel.problem, what
    assert panel.errors == []
    if name == "folder to open":
        get_peft_model(nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Linear(4, 4)}), LORA).save_pretrained(tmp_path)
        panel.folder.value = str(tmp_path)
    mend(panel)
    assert not panel.problem or (says and says not in panel.problem)
    panel.close()


def test_why_a_run_failed_stands_until_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = TrainPanel(rank=1, steps=1)
    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "backward", lambda *_: 1 / 0)
        panel.train()
        with pytest.raises(ZeroDivisionError):
            panel.wait()
    panel.controls.rank.value = 2
    panel.keeping.folder.value = "x"
    assert panel.problem == "ZeroDivisionError: division by zero"
    panel.train()
    panel.wait()
    assert panel.problem == ""
    panel.close()
