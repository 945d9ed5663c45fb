"""EntanglementPanel: a control moves, and the state is what gradient_report says of that layer and adapter."""

from __future__ import annotations

import gc
import re

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from glora_lab.adapters import GraloraConfig
from glora_lab.data import load_task
from glora_lab.figures import describe_gradient_report
from glora_lab.ideas.entanglement.panel import SYNTHETIC
from glora_lab.measure import gradient_report, sensible_limit
from glora_lab.models import OUTLIER_LAYER, load_model, outlier_layer
from glora_lab.panels import EntanglementPanel

LAYER = "vit.layers.1.mlp.fc2"


@pytest.fixture
def panel() -> EntanglementPanel:
    return EntanglementPanel(size=64, rank=32)


def column(n: int, k: int = 4) -> list[tuple[int, int]]:
    return [(m, n) for m in range(k)]


def test_it_starts_on_the_synthetic_layer_with_one_block_column(panel: EntanglementPanel) -> None:
    assert list(panel.reports) == list(panel.configs) == ["LoRA", "GraLoRA k=4"]
    assert panel.contaminated == column(0) and panel.limit == 3
    assert all(report.outliers == (10,) for report in panel.reports.values())
    assert panel.figure.summary == describe_gradient_report(panel.reports, limit=3)
    assert len([s for s in panel.figure.figure.layout.shapes if s.type == "rect"]) == 5  # LoRA's one and four
    assert panel.errors == [] and panel.problem == ""


def test_the_reports_are_those_of_the_layer_and_the_configurations(panel: EntanglementPanel) -> None:
    panel.channel.value, panel.magnitude.value = 40, 30.0
    for name, config in panel.configs.items():
        model, batch = outlier_layer(size=64, channel=40, magnitude=panel.magnitude.value)
        torch.manual_seed(1000)
        assert panel.reports[name] == gradient_report(get_peft_model(model, config), batch, OUTLIER_LAYER)
    lora, gralora = panel.configs.values()
    assert isinstance(lora, LoraConfig) and isinstance(gralora, GraloraConfig)
    assert lora.r == gralora.r == 32 and lora.lora_alpha == gralora.alpha == 64 and gralora.gralora_k == 4


def test_the_channel_moves_the_contaminated_blocks(panel: EntanglementPanel) -> None:
    before = panel.reports
    panel.channel.value = 40
    assert panel.contaminated == column(2) and panel.reports != before
    panel.k.value = 2
    assert panel.contaminated == column(1, k=2) and list(panel.reports) == ["LoRA", "GraLoRA k=2"]


def test_without_an_outlier_nothing_is_contaminated(panel: EntanglementPanel) -> None:
    panel.magnitude.value = 1
    assert panel.contaminated == [] and max(r.deviating(panel.limit) for r in panel.reports.values()) < 0.05
    assert all(not report.outliers for report in panel.reports.values())


def test_scaling_and_rank_reach_the_reports_and_the_limit(panel: EntanglementPanel) -> None:
    panel.scaling.value = "as is"
    assert {report.scaling for report in panel.reports.values()} == {"as is"} and panel.limit == 3
    panel.scaling.value = "equal decrease"
    panel.rank.value = 8
    assert panel.limit == sensible_limit(64, 8) > 5 and panel.configs["LoRA"].r == 8
    assert "about 2.8 times off even without an outlier" in panel.note.value
    assert "more than 5.66 times" in panel.figure.summary


@pytest.mark.parametrize(("control", "value"), [("k", 3), ("k", 16), ("rank", 4)])
def test_an_impossible_k_is_said_and_the_last_picture_stays(control: str, value: int) -> None:
    panel = EntanglementPanel(size=24, rank=8, k=8)
    kept = panel.configs, panel.reports, panel.contaminated, panel.limit, panel.figure.figure
    getattr(panel, control).value = value
    wrong = value if control == "k" else 8
    rank = 4 if control == "rank" else 8
    assert panel.problem.startswith(
        f"`k` (={wrong}) must divide the layer's 24 inputs and 24 outputs and the rank {rank}"
    )
    assert "1, 2" in panel.problem and panel.errors == []
    assert (panel.configs, panel.reports, panel.contaminated, panel.limit, panel.figure.figure) == kept
    getattr(panel, control).value = 8
    assert panel.problem == ""


def test_a_real_layer_starts_on_its_strongest_channel_as_the_model_is(panel: EntanglementPanel) -> None:
    panel.layer_choice.value = LAYER
    assert (panel.channel.value, panel.magnitude.value, panel.channel.max) == (114, 1, 127)
    lora = panel.reports["LoRA"]
    assert lora.layer == LAYER and lora.strongest()[0][0] == 114
    torch.manual_seed(1000)
    model = get_peft_model(load_model("digits-vit"), panel.configs["LoRA"])
    wanted = gradient_report(model, load_task("digits-turned").train.rows(slice(0, 32)), LAYER)
    np.testing.assert_allclose(lora.full, wanted.full, rtol=1e-6, atol=1e-9)
    assert "Its strongest channel is 114, 6.4 times the median" in panel.note.value
    assert "Nothing is multiplied" in panel.note.value
    panel.layer_choice.value = SYNTHETIC
    assert (panel.channel.value, panel.magnitude.value, panel.channel.max) == (10, 100, 63)
    assert panel.contaminated == column(0)


def test_a_layer_without_outliers_shows_its_strongest_channel_all_the_same() -> None:
    panel = EntanglementPanel(layer="layers.1.mlp.fc1", rank=16)
    assert panel.channel.value == 29 and not panel.reports["LoRA"].outliers
    marks = [note for note in panel.figure.figure.layout.annotations if note.text == "▽"]
    assert [mark.x for mark in marks] == [29, 29, 29]


def test_the_magnitude_amplifies_the_chosen_channel_of_a_real_layer() -> None:
    panel = EntanglementPanel(layer=LAYER)
    before = np.linalg.norm(panel.reports["LoRA"].full, axis=0)
    panel.channel.value = 7
    np.testing.assert_array_equal(np.linalg.norm(panel.reports["LoRA"].full, axis=0), before)  # 1 changes nothing
    panel.magnitude.value = 100
    after = panel.reports["LoRA"]
    assert after.strongest()[0][0] == 7 and after.outliers[0] == 7
    assert "Channel 7 is multiplied by 100 before the layer" in panel.note.value
    panel.magnitude.value = 1
    np.testing.assert_array_equal(np.linalg.norm(panel.reports["LoRA"].full, axis=0), before)


def test_other_values_are_drawn_and_the_random_state_stays(panel: EntanglementPanel) -> None:
    state, before = torch.get_rng_state(), panel.reports
    panel.again.click()
    assert panel.reports != before and panel.contaminated == column(0)
    assert torch.equal(torch.get_rng_state(), state)


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.idle = nn.Linear(12, 8), nn.Linear(8, 4), nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.tanh(self.first(x)))


def test_a_model_and_batch_of_ones_own_which_are_left_as_they_are() -> None:
    model, batch = Tiny(), (torch.randn(9, 12), torch.randn(9, 4))
    batch[0][:, 5] *= 1000
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    panel = EntanglementPanel(model, batch, layer="first", rank=4, k=2, loss=nn.functional.l1_loss)
    assert panel.layer_choice.options == (SYNTHETIC, "first", "second", "idle")
    assert panel.channel.value == 5 and panel.reports["LoRA"].full.shape == (8, 12)
    layer = model.first.weight
    nn.functional.l1_loss(model(batch[0]), batch[1]).backward()
    np.testing.assert_allclose(panel.reports["LoRA"].full, layer.grad.numpy(), rtol=1e-4, atol=1e-5)
    assert "the batch that was given" in panel.note.value
    panel.magnitude.value = 3
    assert list(weights) == list(model.state_dict()) and not hasattr(model, "peft_config")
    torch.testing.assert_close(model.state_dict(), weights, rtol=0, atol=0)
    panel.layer_choice.value = "idle"
    assert "`layer` (='idle') has no part in the loss" in panel.problem and panel.errors == []
    assert panel.reports["LoRA"].layer == "first"


def test_a_layer_that_is_refused_is_not_moved_to() -> None:
    panel = EntanglementPanel(Tiny(), (torch.randn(9, 12), torch.randn(9, 4)), layer="first", rank=4, k=2)
    panel.layer_choice.value = "idle"
    assert panel.layer_choice.value == "first" and "(='idle')" in panel.problem
    panel.magnitude.value = 10
    assert panel.reports["LoRA"].layer == "first" and panel.problem == "" and panel.errors == []


def test_a_start_on_a_layer_that_is_refused_is_the_synthetic_one() -> None:
    panel = EntanglementPanel(Tiny(), (torch.randn(9, 12), torch.randn(9, 4)), layer="idle", size=16, rank=4, k=2)
    assert "`layer` (='idle') has no part in the loss" in panel.problem and panel.layer_choice.value == SYNTHETIC
    assert panel.contaminated == column(1, k=2) and panel.errors == []
    panel.channel.value = 3
    assert panel.contaminated == column(0, k=2) and panel.problem == ""


def test_a_batch_that_the_model_cannot_take_is_told_once() -> None:
    panel = EntanglementPanel(Tiny(), {"y": torch.randn(9, 12)}, layer="first", size=16, rank=4, k=2)
    assert "`batch` (of y) must be what the model takes" in panel.problem
    panel.k.value = 4
    assert panel.problem == "" and panel.errors == []
    assert panel.layer_choice.value == SYNTHETIC and panel.contaminated == column(2)
    panel.close()  # or the tests of all open panels find its error


@pytest.mark.parametrize("rank", [2, 10, 200])
def test_a_rank_between_the_sliders_steps_is_kept(rank: int) -> None:
    panel = EntanglementPanel(size=16, rank=rank, k=2)
    assert panel.rank.value == panel.configs["LoRA"].r == rank


@pytest.mark.parametrize("wrong", [{"k": 0}, {"rank": 0}, {"size": (64, 32)}, {"seed": -1}], ids=str)
def test_a_start_that_is_no_number_is_refused(wrong: dict[str, object]) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=re.escape(f"`{name}` (={value!r})")):
        EntanglementPanel(**wrong)  # type: ignore[arg-type]
    gc.collect()


def test_what_cannot_be_shown_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`layer` \(='third'\) must name one layer"):
        EntanglementPanel(Tiny(), layer="third")
    with pytest.raises(ValueError, match=r"`model` \(=PeftModel\) carries an adapter already"):
        EntanglementPanel(get_peft_model(Tiny(), LoraConfig(target_modules=["first"])))


def test_minilm_comes_by_its_name_with_a_head_and_texts() -> None:
    panel = EntanglementPanel("minilm", layer="layer.5.intermediate.dense", rank=16, k=4)
    assert list(panel.reports) == ["LoRA", "GraLoRA k=4"] and panel.errors == []
    assert panel.reports["LoRA"].full.shape == (1536, 384)
    assert "the first 32 training texts of “Docstrings”" in panel.note.value
    panel.close()


def test_another_name_is_no_model() -> None:
    with pytest.raises(ValueError, match=r"`model` \(='digits-vit'\) must be a model"):
        EntanglementPanel("digits-vit")
