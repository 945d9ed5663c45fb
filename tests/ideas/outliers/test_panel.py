"""OutlierPanel: the atlas, a layer chosen by a click or by name, and what the adapters make of its gradient."""

from __future__ import annotations

import re

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from glora_lab.data import load_task
from glora_lab.figures import describe_gradient_report, describe_outliers
from glora_lab.ideas.outliers import panel_outlier_map as outlier_map
from glora_lab.measure import gradient_report, outliers
from glora_lab.models import load_model, outlier_layer
from glora_lab.panels import EntanglementPanel, OutlierPanel
from tests.page.driving import send


def test_it_starts_on_the_layer_of_the_strongest_gradient_with_the_default_model() -> None:
    panel = OutlierPanel()
    model, batch = load_model("digits-vit"), load_task("digits-turned").train.rows(slice(0, 32))
    assert panel.atlas == outliers(model, batch)
    layer = panel.atlas.strongest()[1].layer
    assert panel.state["layer"] == layer and {report.layer for report in panel.reports.values()} == {layer}
    assert panel.map.picture.words == describe_outliers(panel.atlas)
    assert panel.figure.summary == describe_gradient_report(panel.reports, limit=panel.limit)
    assert panel.map.chooser.atlas["says"] == describe_outliers(panel.atlas)
    assert panel.problem == "" and panel.errors == []
    prominence = panel.reports["LoRA"].prominence.max()
    assert panel.atlas.strongest()[1].gradient_size == pytest.approx(prominence)  # one median in both pictures
    panel.close()


def test_a_click_and_the_menu_choose_the_same_and_a_click_beside_is_left_alone() -> None:
    panel = OutlierPanel(rank=4, k=2)
    names = panel.map.menu.options
    send(panel.map.chooser, chosen=2)
    assert panel.map.menu.value == names[2] and panel.reports["LoRA"].layer == names[2]
    panel.map.menu.value = names[4]
    assert panel.map.chooser.chosen == 4 and panel.reports["GraLoRA k=2"].layer == names[4]
    send(panel.map.chooser, chosen=999)
    assert panel.map.chooser.chosen == 4 and panel.map.menu.value == names[4]
    panel.undo()
    assert panel.map.chooser.chosen == 2 and panel.reports["LoRA"].layer == names[2]
    panel.close()


def test_the_reports_are_those_of_the_model_with_the_adapters_on_it() -> None:
    panel, other = OutlierPanel(layer="1.mlp.fc1", rank=8), EntanglementPanel(layer="1.mlp.fc1", rank=8)
    assert panel.reports == other.reports and list(panel.reports) == ["LoRA", "GraLoRA k=4"]
    panel.close()
    other.close()


def test_a_control_changes_the_columns_and_no_pass_through_the_model_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = OutlierPanel(layer="2.mlp.fc2", rank=8)
    monkeypatch.setattr(panel._model, "forward", None)
    panel.control.value = "one ×100"
    (planted, times), *_ = panel.reports["LoRA"].strongest()
    assert times == pytest.approx(100, rel=0.02) and panel.reports["LoRA"].outliers == (planted,)
    assert "100 times the median" in panel.note.value and panel.errors == []
    assert panel.figure.summary == describe_gradient_report(panel.reports, limit=panel.limit)
    panel.scaling.value = "as is"
    assert "let one expect" not in panel.note.value
    panel.close()


def test_what_the_sizes_let_one_expect_is_about_what_the_adapters_do() -> None:
    panel = OutlierPanel(layer="2.mlp.fc2", rank=32)
    panel.control.value = "even, one ×100"
    shares = [report.deviating(panel.limit) for report in panel.reports.values()]
    said = [int(percent) / 100 for percent in re.findall(r"(\d+)%", panel.note.value)]
    assert said == pytest.approx(shares, abs=0.08) and shares[1] < 0.4 * shares[0]
    panel.close()


def test_a_k_that_does_not_fit_is_said_and_the_picture_stays() -> None:
    panel = OutlierPanel(rank=16, k=4)
    before = panel.reports
    panel.map.menu.value = "classifier"
    assert "`k` (=4) must divide the 64 inputs and 10 outputs of classifier and the rank 16: 1 and 2" in panel.problem
    assert panel.reports is before and panel.errors == []
    panel.k.value = 2
    assert panel.problem == "" and panel.reports["LoRA"].layer == "classifier"
    panel.close()


def test_a_model_and_batch_of_ones_own() -> None:
    model, batch = outlier_layer(size=(16, 24), channel=5, magnitude=50)
    panel = OutlierPanel(model, batch, rank=4, k=2)
    assert [row.gradient_channel for row in panel.atlas.rows] == [5] and panel.state["layer"] == "synthetic"
    again = OutlierPanel.from_state(panel.state, model, batch)
    assert again.reports == panel.reports
    for one in (panel, again):
        one.close()
    with pytest.raises(ValueError, match="must be a task of your own data"):
        OutlierPanel(load_model("minilm"))


def test_a_layer_without_a_gradient_is_shown_as_one() -> None:
    class HalfHeard(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.heard, self.unheard = nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.unheard(x)
            return self.heard(x)

    panel = OutlierPanel(HalfHeard(), (torch.randn(4, 8), torch.randn(4, 8)), rank=4, k=2)
    for control in panel.control.options:
        panel.control.value, panel.map.menu.value = control, "unheard"
        assert "no channel has a gradient" in panel.figure.summary and panel.errors == []
        panel.map.menu.value = "heard"
    panel.close()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"layer": "zzz"}, "`layer`"),
        ({"rank": 0}, "`rank`"),
        ({"rank": 1000}, r"`rank` \(=1000\) must be at most 128"),
        ({"k": 17}, r"`k` \(=17\) must be at most 16"),
        ({"seed": -1}, "`seed`"),
        ({"task": "text"}, "`task`"),
        ({"batch": 3}, "`batch`"),
        ({"model": 3}, "`model`"),
        ({"loss": 3}, "`loss`"),
        ({"model": get_peft_model(load_model("digits-vit"), LoraConfig(target_modules=["fc1"]))}, "carries an adapter"),
    ],
)
def test_what_cannot_be_is_refused(wrong: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        OutlierPanel(**wrong)


def test_where_the_picture_cannot_be_clicked_the_menu_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlier_map, "in_colab", lambda: True)
    panel = OutlierPanel()
    name = panel.map.menu.options[3]
    panel.map.menu.value = name
    assert panel.map.chooser is None and panel.map.picture is None and len(panel.map.figure.figure.layout.shapes) == 4
    assert panel.map.figure.summary == describe_outliers(panel.atlas) and panel.reports["LoRA"].layer == name
    panel.close()


def test_minilm_by_its_name() -> None:
    panel = OutlierPanel("minilm", rank=64, layer="5.intermediate.dense")
    assert len(panel.atlas.rows) == 38 and panel.atlas.strongest()[1].gradient_size > 10
    head = {name: p for name, p in panel._model.named_parameters() if name.startswith("classifier")}
    assert head["classifier.weight"].shape == (8, 384)
    adapted = get_peft_model(panel._model, LoraConfig(r=64, lora_alpha=128, target_modules=["5.intermediate.dense"]))
    real = gradient_report(adapted, panel._batch, "5.intermediate.dense")
    assert real.prominence == pytest.approx(panel.reports["LoRA"].prominence, rel=1e-3)
    panel.close()
