"""merge_report: what it says of the base is what layers merged by hand show, ours and stock PEFT's."""

from __future__ import annotations

import copy
import math
from itertools import pairwise

import numpy as np
import peft
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers.pytorch_utils import Conv1D

from glora_lab.adapters import GloraConfig, GraloraConfig
from glora_lab.adapters.glora.layer import GloraLinear
from glora_lab.adapters.view import find_layer
from glora_lab.ideas.merging.record import OURS, STOCK
from glora_lab.measure import merge_report

BOTH = (OURS, STOCK)


def adapted(config, *, base=None, seed=0, name="default"):
    torch.manual_seed(seed)
    config.target_modules = {"0"}
    return get_peft_model(nn.Sequential(nn.Linear(8, 12) if base is None else base), config, adapter_name=name)


def constant(value, **settings):
    model = adapted(GloraConfig(config_A_B="constant", config_C="none", config_D_E="none", **settings))
    layer = find_layer(model, "0")[1]
    layer.glora_A["default"].X.data.fill_(value)
    layer.glora_B["default"].X.data.fill_(0.05)
    return model


def numbers(layer):
    return torch.cat([layer.weight.detach().flatten(), layer.bias.detach()]).double()


def drift_by_hand(layer, cycles):
    innermost = layer.get_base_layer()
    before, found = numbers(innermost), [0.0]
    for _ in range(cycles):
        layer.merge()
        layer.unmerge()
        found.append(((numbers(innermost) - before).norm() / before.norm()).item())
    return found


@pytest.mark.parametrize("mode", ["lora", "vector", "constant"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_the_drift_is_that_of_layers_merged_by_hand(dtype, mode):
    config = {"config_A_B": mode, "config_D_E": "vector", "r": 2, "init_weights": False}
    theirs = adapted(peft.GloraConfig(**config))
    report = merge_report(theirs, cycles=7, dtype=dtype)
    layer = copy.deepcopy(find_layer(theirs, "0")[1])
    layer.get_base_layer().to(getattr(torch, dtype))
    assert report.drift(STOCK).tolist() == drift_by_hand(layer, 7)
    assert report.drift(STOCK)[-1] > 0 and report.changed(STOCK) > 0
    assert not report.drift(OURS).any() and report.changed(OURS) == 0
    assert (report.cycles, report.dtype, report.method, report.libraries) == (7, dtype, "GLoRA", BOTH)


@pytest.mark.parametrize("cycles", [40, 41])
@pytest.mark.parametrize("value", [-1.0, -0.9, -0.7, 0.1])  # lost; comes to rest; goes to and fro; comes to rest late
def test_cycles_that_go_round_are_not_run_and_reported_as_they_would_be(monkeypatch, value, cycles):
    counted = {OURS: 0, STOCK: 0}
    for kind, by in ((GloraLinear, OURS), (peft.tuners.glora.layer.GloraLinear, STOCK)):
        monkeypatch.setattr(kind, "merge", counting(kind.merge, counted, by))
    theirs = adapted(peft.GloraConfig(config_A_B="constant", config_C="none", config_D_E="none"))
    stock = find_layer(theirs, "0")[1]
    stock.glora_A["default"].X.data.fill_(value)
    stock.glora_B["default"].X.data.fill_(0.05)
    report = merge_report(theirs, cycles=cycles, dtype="bfloat16")
    assert counted[OURS] == 1 and report.drift(OURS).tolist() == [0.0] * (cycles + 1)
    assert 2 < counted[STOCK] < 12
    stock.get_base_layer().bfloat16()
    before = numbers(stock.get_base_layer())
    drift = [each if math.isfinite(each) else math.inf for each in drift_by_hand(stock, cycles)]
    assert report.drift(STOCK).tolist() == drift
    assert report.changed(STOCK) == (numbers(stock.get_base_layer()) != before).double().mean().item()


def counting(real, counted, by):
    def merge(*args, **kwargs):
        counted[by] += 1
        return real(*args, **kwargs)

    return merge


@pytest.mark.parametrize("ours, theirs, settings", [
    (GloraConfig, peft.GloraConfig, {"r": 2, "config_C": "vector", "config_D_E": "vector"}),
    (GloraConfig, peft.GloraConfig, {"config_A_B": "none", "config_C": "lora"}),
    (GraloraConfig, peft.GraloraConfig, {"r": 4, "gralora_k": 2, "alpha": 8}),
    (GraloraConfig, peft.GraloraConfig, {"r": 4, "gralora_k": 2, "hybrid_r": 2}),
])  # fmt: skip
def test_the_same_adapter_gives_the_same_report_whoever_carries_it(ours, theirs, settings):
    stock = adapted(theirs(**settings, init_weights=False), base=nn.Linear(8, 12).double())
    lab = adapted(ours(**settings), base=nn.Linear(8, 12).double())
    lab.load_state_dict(stock.state_dict(), strict=False)
    assert merge_report(lab, cycles=3) == merge_report(stock, cycles=3)


def test_the_errors_of_the_output_are_relative_to_what_the_adapter_does():
    model = adapted(GloraConfig(r=2, config_D_E="vector", init_weights=False))
    report = merge_report(model, cycles=1, dtype="float16", seed=3)
    inputs = torch.randn(64, 8, generator=torch.Generator().manual_seed(3)).half()
    layer = copy.deepcopy(find_layer(model, "0")[1])
    layer.get_base_layer().half()
    exact = copy.deepcopy(layer).double()
    true, frozen = exact(inputs.double()), exact.get_base_layer()(inputs.double())
    unmerged = layer(inputs)
    layer.merge()
    (row,) = report.of(OURS)
    for output, error in ((unmerged, row.unmerged), (layer(inputs), row.merged)):
        assert error == pytest.approx(((output.double() - true).norm() / (true - frozen).norm()).item(), rel=1e-9)
    assert row.effect == pytest.approx(((true - frozen).norm() / frozen.norm()).item(), rel=1e-9)
    assert 0 < row.merged < 0.1 and report.error(OURS, "merged") == row.merged


def test_a_small_adapter_is_lost_in_a_coarse_weight_and_kept_in_a_fine_one():
    model = adapted(GloraConfig.only(B="lora", r=2, init_weights=False))
    find_layer(model, "0")[1].glora_B["default"].Xd.data.mul_(1e-3)
    coarse, fine = (
        merge_report(model, cycles=1, dtype=dtype).error(OURS, "merged") for dtype in ("bfloat16", "float32")
    )
    assert coarse > 1 and fine < 1e-2


def test_the_base_is_lost_where_one_plus_a_is_zero_and_not_with_us():
    report = merge_report(constant(-1.0), cycles=3)
    assert report.lost_at(STOCK) == 1 and np.isinf(report.drift(STOCK)[1:]).all() and report.drift(STOCK)[0] == 0
    assert report.lost_at(OURS) is None and report.changed(OURS) == 0 and report.changed(STOCK) == 1
    near = merge_report(constant(-0.999), cycles=3, dtype="bfloat16")
    assert near.lost_at(STOCK) == 1  # bfloat16 has no number between -0.996 and -1
    assert merge_report(constant(-0.999), cycles=3, dtype="float16").lost_at(STOCK) is None


def test_the_nearer_a_is_to_minus_one_the_farther_off_the_base():
    ends = [merge_report(constant(a), cycles=10, dtype="float32").drift(STOCK)[-1] for a in (-0.5, -0.9, -0.99, -0.999)]
    assert all(later > 3 * earlier for earlier, later in pairwise(ends))


def test_the_output_is_that_of_the_first_merge():
    """Later ones stand on a base that has drifted."""
    once, often = (merge_report(constant(-0.9), cycles=cycles) for cycles in (1, 5))
    assert often.error(STOCK, "merged") == once.error(STOCK, "merged")
    assert often.drift(STOCK)[-1] > once.drift(STOCK)[-1]


@pytest.mark.parametrize("merged", [False, True])
def test_the_model_is_left_as_it_is(merged):
    model = adapted(GloraConfig(r=2, init_weights=False))
    if merged:
        model.merge_adapter()
    before, state = {n: t.clone() for n, t in model.state_dict().items()}, torch.get_rng_state()
    report = merge_report(model, cycles=2)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert find_layer(model, "0")[1].merged == merged
    model.unmerge_adapter() if merged else model.merge_adapter()
    assert merge_report(model, cycles=2) == report


def test_what_one_library_cannot_hold_is_left_out_with_its_reason():
    alone = merge_report(adapted(GloraConfig.only(B="lora", init_weights=False)), cycles=2)
    assert alone.libraries == (OURS,)
    assert (
        list(alone.left_out) == ["0 (stock PEFT)"] and "config_A_B, holds for both" in alone.left_out["0 (stock PEFT)"]
    )
    lora = merge_report(adapted(LoraConfig(r=2, init_lora_weights=False)), cycles=2)
    assert (lora.libraries, lora.method) == ((STOCK,), "LoRA")
    assert list(lora.left_out) == ["0 (glora_lab)"] and lora.drift(STOCK)[-1] > 0  # it subtracts what it has added
    with pytest.raises(ValueError, match=r"`by` \(='glora_lab'\) must be one of: stock PEFT"):
        lora.of(OURS)


def test_a_conv1d_and_a_bias_that_merging_adds():
    conv = merge_report(adapted(GraloraConfig(r=4, gralora_k=2, init_weights=False), base=Conv1D(12, 8)), cycles=2)
    assert conv.libraries == BOTH and not conv.drift(OURS).any()
    gains = GloraConfig.only(E="vector", bias_free="add", init_weights=False)
    report = merge_report(adapted(gains, base=nn.Linear(8, 12, bias=False)), cycles=2)  # a warning fails the test
    assert report.changed(OURS) == 0 and report.error(OURS, "merged") < 0.1


def test_a_fresh_adapter_does_nothing_that_could_be_lost():
    (row, _) = merge_report(adapted(GloraConfig(r=2)), cycles=2).rows
    assert (row.effect, row.changed) == (0, 0) and math.isnan(row.unmerged) and math.isnan(row.merged)


def test_one_layer_and_one_adapter_can_be_asked_for():
    model = get_peft_model(
        nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 4)), GloraConfig(target_modules=["0", "1"], init_weights=False)
    )
    model.add_adapter("second", GloraConfig(target_modules=["1"], config_A_B="vector", init_weights=False))
    assert [row.layer for row in merge_report(model, cycles=1).rows] == ["0", "0", "1", "1"]
    (first, _), (second, _) = (
        merge_report(model, cycles=1, layer="1", adapter_name=n).rows for n in ("default", "second")
    )
    assert first.layer == second.layer == "1" and first.effect != second.effect
    assert [row.layer for row in merge_report(model, cycles=1, adapter_name="second").rows] == ["1", "1"]


def test_what_cannot_be_is_named():
    model = adapted(GloraConfig(r=2))
    for settings, says in (
        ({"cycles": 0}, r"`cycles` \(=0\) must be an integer above 0"),
        ({"dtype": "int8"}, r"`dtype` \(='int8'\) must be one of 'float32'"),
        ({"seed": -1}, r"`seed` \(=-1\)"),
        ({"layer": "nope"}, r"`layer` \(='nope'\) is no adapted layer"),
        ({"adapter_name": "b"}, r"`adapter_name` \(='b'\) is on no layer"),
    ):
        with pytest.raises(ValueError, match=says):
            merge_report(model, **settings)
    with pytest.raises(ValueError, match="must carry an adapter"):
        merge_report(nn.Linear(3, 3))
    with pytest.raises(ValueError, match="must be a PeftModel"):
        merge_report(nn.Sequential(find_layer(model, "0")[1]))
    stock = adapted(peft.GloraConfig(r=2, init_weights=False))
    stock.merge_adapter()
    with pytest.raises(ValueError, match="has an adapter merged, and PEFT keeps no original weight"):
        merge_report(stock)
    with pytest.raises(ValueError, match="in memory"):
        merge_report(adapted(GloraConfig(r=2)).to("meta"))
