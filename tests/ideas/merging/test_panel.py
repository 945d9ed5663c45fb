"""MergePanel: a control moves, and the report is that of the layers that were merged."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from glora_lab.adapters import GloraConfig
from glora_lab.figures import describe_merge_errors, describe_merge_order, describe_merge_report
from glora_lab.ideas.merging.panel import EXAMPLE, OUTPUT, TRAINED, TWO
from glora_lab.ideas.merging.record import OURS, STOCK
from glora_lab.measure import merge_order, merge_report
from glora_lab.panels import MergePanel


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 4), nn.Linear(4, 3, bias=False)


def adapted(config=None) -> nn.Module:
    torch.manual_seed(0)
    return get_peft_model(Tiny(), config or GloraConfig(target_modules=["first"], r=2, init_weights=False))


def check(panel: MergePanel) -> None:
    assert panel.figure.summary == describe_merge_report(panel.report)
    assert panel.errors == [] and panel.problem == ""


def test_it_starts_on_digits_vit_in_bfloat16() -> None:
    panel = MergePanel(cycles=20)
    check(panel)
    assert (panel.report.dtype, panel.report.cycles, panel.report.libraries) == ("bfloat16", 20, (OURS, STOCK))
    assert [row.layer for row in panel.report.rows] == ["vit.layers.0.attention.q_proj"] * 2
    assert panel.report.drift(STOCK)[-1] > 1e-4 and not panel.report.drift(OURS).any()


def test_a_at_minus_one_loses_stocks_base_and_not_ours() -> None:
    panel = MergePanel(Tiny(), "first", cycles=5)
    assert panel.report.lost_at(STOCK) is None
    panel.a.value = -1.0
    check(panel)
    assert panel.report.lost_at(STOCK) == 1 and panel.report.changed(OURS) == 0
    panel.a.value = -0.9
    near = panel.report.drift(STOCK)[-1]
    panel.a.value = -0.5
    assert 0 < 3 * panel.report.drift(STOCK)[-1] < near


def test_precision_cycles_and_layer_reach_the_report() -> None:
    panel = MergePanel(Tiny(), cycles=3)
    coarse = panel.report.drift(STOCK)[-1]
    panel.precision.value = "float32"
    panel.cycles.value = 4
    check(panel)
    assert (panel.report.dtype, panel.report.cycles) == ("float32", 4) and panel.report.drift(STOCK)[-1] < coarse / 100
    panel.layer_choice.value = "second"
    check(panel)
    assert panel.report.rows[0].layer == "second"


def test_a_models_own_adapter_is_merged_and_the_model_left_alone() -> None:
    model = adapted()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    panel = MergePanel(model, cycles=4)
    assert (panel.values.value, panel.layer_choice.options) == (TRAINED, ("first",))
    assert panel.report == merge_report(model, cycles=4, layer="first")
    panel.a.value = -0.7  # which its adapter has not: the example from here on
    check(panel)
    assert panel.values.value == EXAMPLE and panel.report != merge_report(model, cycles=4, layer="first")
    panel.values.value = TRAINED
    assert panel.report == merge_report(model, cycles=4, layer="first")
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize("merged", [False, True])
def test_an_example_stands_on_the_original_weight(merged) -> None:
    model = adapted()
    if merged:
        model.merge_adapter()
    panel = MergePanel(model, cycles=2)
    panel.values.value = EXAMPLE
    check(panel)
    fresh = Tiny()
    fresh.first = adapted().get_submodule("base_model.model.first.base_layer")
    assert panel.report == MergePanel(fresh, "first", cycles=2).report


def test_a_lora_has_stocks_line_alone_and_what_cannot_be_merged_is_said() -> None:
    panel = MergePanel(adapted(LoraConfig(r=2, target_modules=["first"], init_lora_weights=False)), cycles=2)
    check(panel)
    assert panel.report.libraries == (STOCK,)
    merged = adapted(LoraConfig(r=2, target_modules=["first"], init_lora_weights=False))
    merged.merge_adapter()
    refused = MergePanel(merged, cycles=2)
    assert refused.report is None and "unmerge first" in refused.problem and refused.errors == []
    with pytest.raises(ValueError, match=r"`layer` \(='third'\) must name one layer"):
        MergePanel(Tiny(), "third")


def test_each_question_has_a_picture_of_its_own() -> None:
    panel = MergePanel(Tiny(), "first", cycles=2)
    panel.about.value = OUTPUT
    assert panel.figure.summary == describe_merge_errors(panel.report) and panel.order is None
    panel.about.value = TWO
    assert panel.figure.summary == describe_merge_order(panel.order) and panel.precision.disabled
    assert panel.order.layer == "first" and panel.order.together < 1e-12 and min(panel.order.in_turn) > 0.1
    panel.a.value = 0.0  # nothing multiplies the weight
    assert max(panel.order.in_turn) < 1e-12
    panel.about.value = "the base"
    check(panel)
    assert not panel.precision.disabled


def test_two_adapters_of_a_model_are_asked_or_what_is_missing_said() -> None:
    model = adapted()
    panel = MergePanel(model, cycles=2)
    panel.about.value = TWO
    assert "must be two adapters of first, which carries default" in panel.problem and not panel.errors
    model.add_adapter("second", GloraConfig(target_modules=["first"], r=2, init_weights=False))
    two = MergePanel(model, cycles=2)
    two.about.value = TWO
    assert two.order == merge_order(model, "first") and two.problem == ""
