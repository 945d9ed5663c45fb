"""Answers come in turn, from whichever thread; nobody waits for another for good, and a look does not wait at all."""

from __future__ import annotations

import asyncio
import threading
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import ipywidgets as widgets
import pytest
from peft import get_peft_model
from torch import nn

from glora_lab import GraloraConfig, TrainSession, load_model, load_task
from glora_lab.ideas.blocks.panel_block_map import BlockMap
from glora_lab.ideas.blocks.panel_controls import BlockControls
from glora_lab.ideas.training.panel_keep import KeepControls
from glora_lab.ideas.training.panel_methods import MethodControls
from glora_lab.page.controls.modes import ModeControls
from glora_lab.page.looking import look_again
from glora_lab.page.panel import guarded
from glora_lab.panels import BlockPanel, Panel, TrainPanel
from glora_lab.training.in_turn import TURN
from tests.training.test_session import no_thread

SECONDS = 100.0  # that nothing here takes


def nothing() -> None:
    """Told of a change."""


def setting(control: widgets.Widget, value: object) -> Callable[[], None]:
    return lambda: setattr(control, "value", value)


class Slow(Panel):
    """Shows what two controls say; for the first of them that takes a while."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = widgets.IntText(0), widgets.IntText(0)
        self.shown, self.begun, self.go_on = (0, 0), threading.Event(), threading.Event()
        self.first.observe(self._slowly, "value")
        self.second.observe(self._update, "value")

    @guarded
    def _slowly(self, _: object) -> None:
        says = self.first.value, self.second.value
        self.begun.set()
        self.go_on.wait(SECONDS)
        self.shown = says

    @guarded
    def _update(self, _: object) -> None:
        self.shown = self.first.value, self.second.value


def test_the_last_answer_is_to_the_last_change_also_from_two_threads() -> None:
    """JupyterLab sends a control's first message to another thread than its later ones."""
    panel = Slow()
    changes = [threading.Thread(target=setattr, args=(control, "value", 1)) for control in (panel.first, panel.second)]
    changes[0].start()
    assert panel.begun.wait(SECONDS)
    changes[1].start()
    changes[1].join(0.2)  # in vain, while the first is under way
    panel.go_on.set()
    for change in changes:
        change.join(SECONDS)
    assert panel.shown == (1, 1) and panel.errors == []
    panel.close()


def guard_nothing(panel: Panel) -> None:
    with panel.guard():
        nothing()


def block_map() -> BlockMap:
    return BlockPanel(nn.ModuleDict({"layer": nn.Linear(4, 4)}), k=2, r=2).map


def method_controls() -> MethodControls:
    return MethodControls(load_model("digits-vit"), nothing, method="LoRA", preset="A + B", rank=2, k=2)


def adapter_to_keep() -> widgets.Dropdown:
    keep = KeepControls(nothing)
    keep.offer(["one", "two"])
    return keep.which


ANSWERS: dict[str, Callable[[], Callable[[], object]]] = {
    "a guarded block": lambda: partial(guard_nothing, Panel()),
    "closing": lambda: Panel().close,
    "a mode": lambda: setting(ModeControls({}, nothing).buttons["A"], "vector"),
    "modes that are set": lambda: partial(ModeControls({}, nothing).set_modes, {"B": "lora"}),
    "a block's number": lambda: setting(block_map().m, 1),
    "a block that is chosen": lambda: partial(block_map().select, 1, 1),
    "r": lambda: setting(BlockControls(nothing, k=2, r=2, hybrid_r=0).r, 4),
    "sizes that are set": lambda: partial(BlockControls(nothing, k=2, r=2, hybrid_r=0).set, k=2, r=4, hybrid_r=0),
    "the adapter to keep": lambda: setting(adapter_to_keep(), "two"),
    "the method": lambda: setting(method_controls().method, "GLoRA"),
    "the preset": lambda: setting(method_controls().preset, "all paths"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_waits_for_the_one_under_way(name: str) -> None:
    answer = threading.Thread(target=ANSWERS[name](), daemon=True)
    with TURN:
        answer.start()
        answer.join(0.1)
        assert answer.is_alive()
    answer.join(SECONDS)
    assert not answer.is_alive()


def test_between_two_steps_controls_can_be_moved_while_a_button_is_pressed(tmp_path: Path) -> None:
    """Both want the model and the controls: with the locks in two orders they would wait for each other."""
    panel = TrainPanel(steps=400)
    panel.keeping.folder.value = str(tmp_path / "kept")
    panel.train()
    holding, pressed = threading.Event(), threading.Event()

    def cell() -> None:
        with panel.session.between_steps():
            holding.set()
            pressed.wait(SECONDS)
            time.sleep(0.1)
            panel.controls.methods.rank.value = 5

    def button() -> None:
        pressed.set()
        panel.keep()

    threads = [threading.Thread(target=cell, daemon=True), threading.Thread(target=button, daemon=True)]
    threads[0].start()
    assert holding.wait(SECONDS)
    threads[1].start()
    for thread in threads:
        thread.join(SECONDS)
    assert not any(thread.is_alive() for thread in threads)
    assert panel.config.r == 5 and panel.keeping.kept == tmp_path / "kept" and panel.errors == []
    panel.close()


def follow(model: nn.Module, session: TrainSession, panel: BlockPanel) -> None:
    BlockPanel(model, session=session).close()


def choose(model: nn.Module, session: TrainSession, panel: BlockPanel) -> None:
    panel.select(1, 0)
    assert (panel.detail.m, panel.detail.n) == (1, 0)


def look(model: nn.Module, session: TrainSession, panel: BlockPanel) -> None:
    panel.refresh()


def rest(model: nn.Module, session: TrainSession, panel: BlockPanel) -> None:
    with session.between_steps():
        panel.refresh()


def end(model: nn.Module, session: TrainSession, panel: BlockPanel) -> None:
    session.stop()
    session.wait()
    panel.refresh()
    assert "stopped: step" in panel._status.value


@pytest.mark.parametrize("touch", [follow, choose, look, rest, end])
@pytest.mark.parametrize("awaits", [False, True])
def test_whoever_rests_a_session_may_touch_its_panels(touch: Callable[..., None], awaits: bool) -> None:
    """In a cell, or in what the event loop runs while a cell awaits."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model = get_peft_model(load_model("digits-vit"), GraloraConfig(r=4, gralora_k=2, target_modules=["fc1"]))
    session = TrainSession(model, load_task("digits-turned"), steps=10**6, lr=1e-3, seed=0)
    panel = BlockPanel(model, session=session)
    session.start()
    touched: list[str] = []

    def cell() -> None:
        with session.between_steps():
            touch(model, session, panel)
        touched.append("in time")

    async def page() -> None:
        with session.between_steps():
            asyncio.get_running_loop().call_soon(cell)
            await asyncio.sleep(0.05)

    thread = threading.Thread(target=(lambda: asyncio.run(page())) if awaits else cell, daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert touched == ["in time"] and panel.errors == []
    panel.close()
    session.stop()
    session.wait(SECONDS)


def test_where_no_thread_is_to_be_had_the_panel_says_so_and_trains_later(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = TrainPanel(steps=2)
    panel.train()
    panel.wait()
    first, model = panel.session, panel.model
    with monkeypatch.context() as without:
        without.setattr(threading.Thread, "start", no_thread)
        panel.train()
    assert "no thread is to be had" in panel.problem and len(panel.errors) == 1
    assert panel.session is first and panel.model is model and not panel.start_button.disabled
    panel.train()
    panel.wait()
    assert panel.session is not first and panel.problem == "" and len(panel.runs) == 2
    panel.close()


def test_the_loop_does_not_wait_for_an_answer_on_another_thread() -> None:
    looks: list[str] = []
    begun, go_on = threading.Event(), threading.Event()

    def answer() -> None:
        with TURN:
            begun.set()
            go_on.wait(SECONDS)

    def look() -> bool:
        looks.append("looked")
        return False

    async def page() -> None:
        thread = threading.Thread(target=answer)
        thread.start()
        begun.wait(SECONDS)
        look_again(look, 0.01)
        await asyncio.sleep(0.1)
        assert looks == []
        go_on.set()
        thread.join(SECONDS)
        await asyncio.sleep(0.1)

    asyncio.run(page())
    assert looks == ["looked"]  # left out while the answer was under way, and not lost


def test_a_panel_that_closes_while_train_is_pressed_leaves_no_run() -> None:
    panel = TrainPanel(steps=400)
    press = threading.Thread(target=panel.train)
    with TURN:
        press.start()
        press.join(0.1)
        panel.close()
    press.join(SECONDS)
    assert panel.session is None and panel.errors == []


def test_stop_shows_a_run_that_ended_unseen() -> None:
    panel = TrainPanel(steps=2)
    panel.train()
    panel.session.wait(60)
    panel.stop()
    assert [run.name for run in panel.runs] and not panel.start_button.disabled
    panel.close()
