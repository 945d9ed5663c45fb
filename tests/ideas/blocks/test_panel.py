"""BlockPanel: a control moves or a block is chosen, and the state is what the real layer computes."""

from __future__ import annotations

import asyncio
import gc
import time
from pathlib import Path

import ipywidgets as widgets
import numpy as np
import peft
import pytest
import torch
from torch import nn

from glora_lab.adapters import GloraConfig, GraloraConfig, load_adapter
from glora_lab.data import load_task
from glora_lab.figures import cut_cells, describe_block_cut, describe_block_detail, describe_block_grid
from glora_lab.ideas.blocks import panel as blocks
from glora_lab.ideas.blocks import panel_block_map as block_map
from glora_lab.measure import block_cut, block_detail, block_grid
from glora_lab.models import load_model
from glora_lab.page.controls.example_values import FRESH, RANDOM, TRAINED
from glora_lab.page.sweep import Sweep
from glora_lab.panels import BlockPanel
from glora_lab.records import BlockCut, RankAtK
from glora_lab.training import TrainSession
from tests.page.instances import INSTANCES

LAYER = "vit.layers.0.attention.q_proj"


@pytest.fixture
def model() -> nn.Module:
    return nn.ModuleDict({"square": nn.Linear(32, 32), "wide": nn.Linear(32, 48)})


def adapted(model: nn.Module, config: type = GraloraConfig, **settings) -> peft.PeftModel:
    defaults = {} if config is peft.LoraConfig else {"gralora_k": 2, "init_weights": False}
    return peft.get_peft_model(model, config(target_modules=["square"], **{"r": 8, **defaults, **settings}))


def learner() -> peft.PeftModel:
    config = GraloraConfig(r=8, gralora_k=2, alpha=8, target_modules=["fc1"])
    return peft.get_peft_model(load_model("digits-vit"), config)


def a_session(model: nn.Module, steps: int = 5) -> TrainSession:
    return TrainSession(model, load_task("digits-turned"), steps=steps, lr=1e-2, seed=0)


def test_it_starts_on_a_real_layer_of_digits_vit() -> None:
    panel = BlockPanel()
    assert (panel.grid.layer, panel.grid.shape, panel.grid.k, panel.grid.rank) == (LAYER, (64, 64), 4, 64)
    assert (panel.detail.layer, panel.detail.m, panel.detail.n) == (LAYER, 0, 0) and panel.selected == (0, 0)
    assert panel.ranks == [RankAtK(k, min(64, 16 * k), 16 * 128) for k in (1, 2, 4, 8, 16)]
    assert panel.params == panel.cut.params == 16 * 128 and "2,048 parameters at every k" in str(panel.map.chooser.grid)
    assert panel.config.to_dict()["r"] == 16 and panel.config.gralora_k == 4 and panel.config.target_modules == {LAYER}
    assert panel.detail_figure.picture is None is panel.norms_figure.picture  # until a block is chosen
    assert panel.errors == [] and panel.problem == ""


def test_the_page_is_sent_the_cells_of_the_grid(model: nn.Module) -> None:
    panel = BlockPanel(model, k=2, r=8)
    assert panel.map.chooser.grid == cut_cells(panel.cut, panel.ranks) and not panel.map.chooser.opened
    panel.controls.k.value = 8
    assert panel.map.chooser.grid == cut_cells(panel.cut, panel.ranks) and panel.map.chooser.grid["k"] == 8


def test_a_bar_of_the_picture_asks_for_its_k(model: nn.Module) -> None:
    panel = BlockPanel(model, k=2, r=8)
    panel.map.chooser.k = 4  # what the page sends
    assert panel.controls.k.value == panel.grid.k == 4
    panel.controls.k.value = 1
    panel.map.chooser.k = 4
    assert panel.grid.k == 4 and panel.errors == []


def test_k_is_offered_as_the_features_allow(model: nn.Module) -> None:
    panel = BlockPanel(nn.ModuleDict({"odd": nn.Linear(12, 18), "wide": nn.Linear(32, 48)}), "odd", k=2, r=6)
    assert panel.controls.k.options == (1, 2, 3, 6)
    panel.layer_choice.value = "wide"
    assert panel.controls.k.options == (1, 2, 4, 8, 16) and panel.grid.layer == "wide"


def test_the_picture_has_the_same_numbers_at_every_k(model: nn.Module) -> None:
    panel = BlockPanel(model, k=1, r=8)
    one = panel.cut
    panel.controls.k.value = 8
    assert (panel.cut.B == one.B).all() and (panel.cut.A == one.A).all() and panel.cut.params == one.params
    assert (one.grid.rank, panel.grid.rank) == (8, 32)


def test_k_r_and_hybrid_rank_reach_the_layer(model: nn.Module) -> None:
    panel = BlockPanel(model, k=2, r=4)
    assert panel.grid.rank == 8 and panel.grid.ranks.tolist() == [[2, 2], [2, 2]]
    panel.controls.k.value = 4
    assert panel.grid.rank == 16 and panel.grid.k == panel.config.gralora_k == panel.detail.k == 4
    panel.controls.r.value = 8
    assert panel.grid.rank == 32 and (panel.grid.ranks == 2).all() and panel.config.r == 8
    panel.controls.hybrid_r.value = 3
    assert (panel.grid.ranks == 5).all() and panel.config.hybrid_r == 3 and panel.detail.B.shape == (8, 5)
    assert panel.params == 11 * 64 and {row.params for row in panel.ranks} == {11 * 64}
    assert [row.rank for row in panel.ranks] == [11, 19, 32, 32]


def test_a_click_shows_the_block(model: nn.Module) -> None:
    panel = BlockPanel(model)
    before, grid = panel.detail, panel.grid
    panel.map.chooser.selected = [2, 1]  # what the page sends
    assert panel.selected == (2, 1) and (panel.map.m.value, panel.map.n.value) == (2, 1)
    assert (panel.detail.m, panel.detail.n) == (2, 1) and panel.detail != before and panel.grid is grid
    assert panel.detail.norm == pytest.approx(grid.norms[2, 1]) and list(panel.detail.reads) == list(range(8, 16))
    assert panel.detail_figure.summary == describe_block_detail(panel.detail) and panel.map.chooser.opened
    assert panel.norms_figure.summary == describe_block_grid(panel.grid) and panel.norms_figure.figure.layout.shapes


def test_the_first_block_can_be_the_first_that_is_chosen(model: nn.Module) -> None:
    panel = BlockPanel(model)
    panel.map.chooser.opened = True  # a click on what is selected already
    assert panel.selected == (0, 0) and panel.detail_figure.summary == describe_block_detail(panel.detail)
    panel.map.apart.value = False
    assert (
        panel.detail_figure.picture is None
        and "glora-away" in panel.detail_figure._dom_classes
        and not panel.map.chooser.opened
    )
    assert BlockPanel.from_state(panel.state, panel._model).state == panel.state


def test_m_and_n_choose_as_a_click_does(model: nn.Module) -> None:
    panel = BlockPanel(model)
    panel.map.m.value = 3
    panel.map.n.value = 1
    assert panel.selected == (3, 1) == (panel.detail.m, panel.detail.n) and panel.map.chooser.selected == [3, 1]
    panel.select(1, 2)
    assert (panel.map.m.value, panel.map.n.value) == (1, 2) == (panel.detail.m, panel.detail.n)


def test_a_block_is_measured_once_a_choice(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    panel, asked = BlockPanel(model), []
    monkeypatch.setattr(blocks, "block_detail", lambda *a: asked.append(a[2:]) or block_detail(*a))
    panel.map.chooser.selected = [1, 1]
    panel.map.m.value = 2
    panel.select(2, 1)  # where it is
    assert asked == [(1, 1), (2, 1)]


def test_a_smaller_grid_keeps_the_choice_inside(model: nn.Module) -> None:
    panel = BlockPanel(model, k=8, r=8)
    panel.select(7, 1)
    panel.controls.k.value = 2
    assert panel.selected == (1, 1) == (panel.detail.m, panel.detail.n) and panel.map.chooser.selected == [1, 1]
    assert panel.map.m.max == panel.map.n.max == 1
    panel.map.chooser.selected = [7, 7]  # a click that comes late
    assert panel.selected == (1, 1) and panel.map.chooser.selected == [1, 1] and panel.errors == []


@pytest.mark.parametrize(
    "control, value, says",
    [
        ("k", 16, "`gralora_k` (=16) must divide the features and the rank of a layer, and does not in square"),
        ("r", 6, "square (k 4, 32 → 32 features, r 6; k that fit: 1, 2)"),
    ],
)
def test_an_impossible_k_says_why_and_keeps_the_picture(model: nn.Module, control: str, value: int, says: str) -> None:
    panel = BlockPanel(model, k=4, r=8)
    kept = (panel.grid, panel.detail, panel.config, panel.ranks, panel.map.chooser.grid)
    slider = getattr(panel.controls, control)
    before, slider.value = slider.value, value
    assert says in panel.problem and panel.errors == []
    assert all(a is b for a, b in zip(kept[:4], (panel.grid, panel.detail, panel.config, panel.ranks), strict=True))
    assert panel.map.chooser.grid == kept[4]
    panel.select(1, 1)  # the picture that stands goes on working
    assert (panel.detail.m, panel.detail.n, panel.detail.k) == (1, 1, 4)
    slider.value = before
    assert panel.problem == "" and panel.grid == kept[0]


def test_an_impossible_start_is_an_answer(model: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"`gralora_k` \(=5\) must divide.*k that fit: 1, 2, 4, 8, 16"):
        BlockPanel(model, k=5)
    for wrong, name in (({"k": 0}, "k"), ({"r": 2.0}, "r"), ({"hybrid_r": -1}, "hybrid_r")):
        with pytest.raises(ValueError, match=rf"`{name}` \(="):
            BlockPanel(model, **wrong)
    gc.collect()


def test_another_layer_where_k_does_not_fit_says_why(model: nn.Module) -> None:
    model["odd"] = nn.Linear(30, 32)
    panel = BlockPanel(model, "wide", k=4)
    panel.layer_choice.value = "odd"
    assert "30 → 32 features" in panel.problem and panel.grid.layer == "wide" and panel.errors == []
    panel.controls.k.value = 2
    assert panel.grid.layer == panel.detail.layer == "odd" and panel.grid.k == 2 and panel.problem == ""
    assert panel.ranks == [RankAtK(1, 16, 16 * 62), RankAtK(2, 30, 16 * 62)]


def test_what_is_said_stays_true_when_a_block_is_chosen(model: nn.Module) -> None:
    model["odd"] = nn.Linear(30, 32)
    panel = BlockPanel(model, "wide", k=4)
    panel.layer_choice.value = "odd"
    panel.select(1, 1)  # a block of the picture that stands
    assert panel.detail.layer == panel.grid.layer == "wide" and "30 → 32 features" in panel.problem


def test_a_deleted_adapter_leaves_the_layers_as_examples(model: nn.Module) -> None:
    carrying = adapted(model)
    carrying.delete_adapter("default")
    panel = BlockPanel(carrying)
    assert TRAINED not in panel.values.options and panel.grid.rank == 32 and panel.errors == []


def test_values_are_drawn_fresh_or_again(model: nn.Module) -> None:
    panel, same = BlockPanel(model), BlockPanel(model)
    first = panel.grid
    assert same.grid == first
    panel.again.click()
    assert panel.grid != first and panel.grid.rank == first.rank
    panel.values.value = FRESH
    assert panel.grid.rank == 0 and not panel.detail.norm and panel.ranks[0].rank == 16  # what random values reach
    panel.again.click()
    assert panel.values.value == RANDOM and panel.grid.rank == first.rank


def test_the_model_and_the_random_numbers_are_left_alone(model: nn.Module) -> None:
    state, weight = torch.get_rng_state(), model["square"].weight.detach().clone()
    panel = BlockPanel(model)
    panel.controls.k.value = 2
    assert torch.equal(torch.get_rng_state(), state) and torch.equal(model["square"].weight, weight)
    assert type(model["square"]) is nn.Linear and model["square"].weight.requires_grad


@pytest.mark.parametrize("config", [GraloraConfig, peft.GraloraConfig])
def test_an_adapter_is_shown_with_its_own_values(model: nn.Module, config: type) -> None:
    carrying = adapted(model, config, r=20, hybrid_r=2, alpha=11)
    panel = BlockPanel(carrying)
    assert panel.values.value == TRAINED and panel.layer_choice.options == ("square",)
    assert panel.grid == block_grid(carrying, "square") and panel.detail == block_detail(carrying, "square", 0, 0)
    controls = panel.controls
    assert (controls.k.value, controls.r.value, controls.hybrid_r.value) == (2, 20, 2) and panel.params == 22 * 64
    assert panel.config.alpha == pytest.approx(11) and panel.config.r == 20
    controls.k.value = 4  # what the adapter is not: an example from here on
    assert panel.values.value == RANDOM and panel.grid.k == 4 and panel.grid.layer == "square"
    panel.values.value = TRAINED
    assert panel.grid == block_grid(carrying, "square") and controls.k.value == 2 and panel.errors == []


def test_a_lora_is_one_block(model: nn.Module) -> None:
    carrying = adapted(model, peft.LoraConfig, r=3, init_lora_weights=False)
    panel = BlockPanel(carrying)
    assert panel.grid == block_grid(carrying, "square") and panel.controls.k.value == 1 and panel.params == 3 * 64
    assert panel.detail.rank == 3 and [row.k for row in panel.ranks] == [1] and panel.errors == []


@pytest.mark.parametrize("config, settings", [(GloraConfig, {}), (peft.LoraConfig, {"use_dora": True})])
def test_an_adapter_without_blocks_leaves_the_layers_as_examples(model: nn.Module, config, settings) -> None:
    panel = BlockPanel(peft.get_peft_model(model, config(r=4, target_modules=["square"], **settings)))
    assert TRAINED not in panel.values.options and panel.grid.rank == 32 and panel.errors == []


@pytest.mark.parametrize("config", [GraloraConfig, peft.GraloraConfig])
def test_an_adapter_from_disk_is_shown(config: type, tmp_path: Path) -> None:
    settings = {"r": 8, "gralora_k": 4, "target_modules": ["fc2"], "init_weights": False}
    saved = peft.get_peft_model(load_model("digits-vit"), config(**settings))
    saved.save_pretrained(str(tmp_path))
    loaded = load_adapter(load_model("digits-vit"), tmp_path)
    panel = BlockPanel(loaded, "layers.2.mlp.fc2")
    np.testing.assert_allclose(panel.grid.norms, block_grid(saved, "layers.2.mlp.fc2").norms, rtol=1e-12)
    panel.select(3, 1)
    assert panel.detail == block_detail(loaded, "layers.2.mlp.fc2", 3, 1) and panel.errors == []


def test_a_session_is_followed(model: nn.Module) -> None:
    training = learner()
    session = a_session(training)
    panel = BlockPanel(training, "layers.0.mlp.fc1", session=session)
    assert panel.values.value == TRAINED and panel.grid.rank == 0 and "ready: step 0 of 5" in panel._status.value
    panel.select(1, 0)
    session.start()
    session.wait()
    assert panel.grid.rank == 0  # nobody has looked
    panel.refresh()
    assert panel.grid == block_grid(training, "layers.0.mlp.fc1") and panel.grid.rank == 16
    assert panel.detail == block_detail(training, "layers.0.mlp.fc1", 1, 0) and panel.map.chooser.selected == [1, 0]
    assert "done: step 5 of 5" in panel._status.value and panel.errors == []
    chosen, panel.values.value = panel.values.value, RANDOM  # an example has nothing to do with the session
    assert panel.grid != block_grid(training, "layers.0.mlp.fc1") and chosen == TRAINED


def test_the_model_rests_while_it_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    training, rested = learner(), []
    session = a_session(training)

    def measured(*arguments: object) -> BlockCut:
        rested.append(session._model_in_use.locked())
        return block_cut(*arguments)

    def detailed(*arguments: object) -> object:
        rested.append(session._model_in_use.locked())
        return block_detail(*arguments)

    monkeypatch.setattr(blocks, "block_cut", measured)
    monkeypatch.setattr(blocks, "block_detail", detailed)
    panel = BlockPanel(training, session=session)
    panel.select(1, 1)
    session.start()
    session.wait()
    panel.refresh()
    assert len(rested) >= 5 and all(rested) and panel.errors == []


def test_nothing_new_is_not_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    training = learner()
    panel = BlockPanel(training, session=a_session(training))
    cut = panel.cut
    panel.refresh()
    assert panel.cut is cut


def test_in_an_event_loop_it_looks_by_itself() -> None:
    async def train() -> tuple[BlockPanel, TrainSession]:
        training = learner()
        session = a_session(training, steps=30)
        panel = BlockPanel(training, session=session)
        session.start()
        seen = set()
        while "done" not in panel._status.value:  # the test's own limit ends what never comes
            seen.add(panel.grid.norms.sum())
            await asyncio.sleep(0.02)
        seen.add(panel.grid.norms.sum())
        assert len(seen) > 1
        return panel, session

    panel, session = asyncio.run(train())
    assert session.finished and panel.grid.norms.all() and panel.errors == []


def test_a_session_that_fails_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    training = learner()
    session = a_session(training)
    panel = BlockPanel(training, session=session)
    monkeypatch.setattr(torch.Tensor, "backward", broken)
    session.start()
    with pytest.raises(RuntimeError, match="no gradient today"):
        session.wait()
    panel.refresh()
    panel.refresh()
    assert len(panel.errors) == 1 and panel.problem == "RuntimeError: no gradient today"
    panel.close()  # or the tests of all open panels find its error


def broken(*_: object, **__: object) -> None:
    raise RuntimeError("no gradient today")


def test_a_session_needs_a_model_with_blocks(model: nn.Module) -> None:
    with pytest.raises(ValueError, match="`session` needs a `model` that carries GraLoRA or LoRA"):
        BlockPanel(model, session=a_session(learner()))


def test_without_a_page_that_can_be_clicked_the_figure_is_drawn(model, monkeypatch: pytest.MonkeyPatch) -> None:
    for missing in ({"block_chooser": None}, {"in_colab": lambda: True}):
        with monkeypatch.context() as patch:
            for name, value in missing.items():
                patch.setattr(block_map, name, value)
            panel = BlockPanel(model)
        assert panel.map.chooser is None and panel.map.figure.summary == describe_block_cut(panel.cut, panel.ranks)
        assert not panel.map.figure.figure.layout.shapes
        panel.map.m.value = 2
        (outline, _) = panel.map.figure.figure.layout.shapes
        assert outline.y0 > outline.x0 == -0.5 and (panel.detail.m, panel.detail.n) == (2, 0)
        panel.controls.k.value = 8
        assert panel.map.figure.summary == describe_block_cut(panel.cut, panel.ranks) and panel.errors == []


def test_a_page_without_widgets_gets_the_cut_standing_still(model, monkeypatch: pytest.MonkeyPatch) -> None:
    panel, shown = BlockPanel(model), []
    assert panel.map.picture.words == describe_block_cut(panel.cut, panel.ranks)
    monkeypatch.setenv("GLORA_LAB_STATIC", "1")
    monkeypatch.setattr("glora_lab.page.panel.display", lambda data, **_: shown.append(data))
    panel._ipython_display_()
    (sweep,) = (one for one in shown if isinstance(one, Sweep))
    assert [picture.words for picture in sweep.frames[sweep.start]] == [panel.map.picture.words]
    panel.select(1, 1)
    panel._ipython_display_()
    assert panel.detail_figure.summary in [picture.words for picture in shown[-1].frames[shown[-1].start]]


def test_a_layer_is_named_by_its_end_or_refused(model: nn.Module) -> None:
    assert BlockPanel(nn.ModuleDict({"block": model}), "wide").grid.layer == "block.wide"
    with pytest.raises(ValueError, match=r"`layer` \(='third'\) must name one layer.*square, wide"):
        BlockPanel(model, "third")


def test_closing_leaves_no_widget_and_no_look(model: nn.Module) -> None:
    gc.collect()
    before = set(INSTANCES)
    panel = BlockPanel(model)
    assert len(set(INSTANCES) - before) > 20
    panel.close()
    assert set(INSTANCES) - before == set()
    training = learner()
    session = a_session(training, steps=1000)
    panel = BlockPanel(training, session=session)
    session.start()
    panel.close()
    panel.refresh()
    time.sleep(0.05)
    assert not session.finished and panel.errors == []  # the session is not the panel's to stop
    session.stop()
    session.wait(250)


def test_every_control_has_a_description(model: nn.Module) -> None:
    panel = BlockPanel(model)
    controls = [
        panel.layer_choice,
        panel.values,
        panel.again,
        panel.controls.k,
        panel.controls.r,
        panel.controls.hybrid_r,
        panel.map.m,
        panel.map.n,
    ]
    assert all(isinstance(control, widgets.Widget) and control.description for control in controls)
