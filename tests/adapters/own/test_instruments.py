"""Every instrument of the laboratory on methods of one's own: what it finds is what the method's ΔW says."""

from __future__ import annotations

import copy
import json

import numpy as np
import peft
import pytest
import torch
from safetensors.torch import load_file

from glora_lab import (
    block_detail,
    block_grid,
    cost_report,
    delta_spectrum,
    export_peft,
    gradient_report,
    load_adapter,
    merge_report,
    path_budget,
    rank_for_budget,
    xray,
)
from glora_lab.adapters.stock.snippet import config_snippet
from glora_lab.adapters.view import delta_matrix
from tests.adapters.block_models import BlockNet
from tests.adapters.small_models import largest_difference

from .methods import METHODS, Grid, OuterProduct, OwnDora, OwnLoha, OwnLora, OwnVera, Ripple, RowScale
from .own_models import TARGETS, encoder, own_model, stir

every_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)
COUNTS = {"OuterProduct": 4 * 72, "OwnVera": 52, "RowScale": 48, "OwnDora": 4 * 72 + 48, "Ripple": 48 + 24 + 48}


def inputs(rows=8):
    return torch.randn(rows, 24, dtype=torch.double), torch.randn(rows, 3, dtype=torch.double)


def norm_of(model):
    return float(encoder(model).weight_delta("default", torch.float64).detach().norm())


@every_method
def test_a_budget(method):
    model = own_model(method)
    budget = path_budget(model)
    assert budget.method == method.__name__
    assert budget.total == sum(p.numel() for p in model.parameters() if p.requires_grad)
    row = budget.rows[0]
    assert (row.layer, row.path) == ("encoder", "B") and row.params == COUNTS.get(method.__name__, row.params)
    fresh = path_budget(BlockNet(), method.config(r=4, target_modules=TARGETS))
    assert fresh.total == budget.total and fresh.rows == budget.rows


def test_the_rank_for_a_budget():
    config = OwnLora.config(r=1, target_modules=["encoder"])
    assert rank_for_budget(BlockNet(), config, 500) == 500 // 72
    with pytest.raises(ValueError, match="whatever its rank"):
        rank_for_budget(BlockNet(), RowScale.config(target_modules=["encoder"]), 500)


@every_method
def test_a_gradient(method):
    model, (x, y) = own_model(method), inputs()
    report = gradient_report(model, (x, y), "encoder")
    assert report.method == method.__name__ and report.full.shape == report.effective.shape == (48, 24)
    # J Jᵀ G by hand
    layer = encoder(model)
    trained = [p for p in layer.delta_tensors["default"].parameters() if p.requires_grad]
    delta = layer.weight_delta("default")
    down = torch.autograd.grad(delta, trained, torch.tensor(report.full), allow_unused=True, retain_graph=True)
    down = [torch.zeros_like(p) if d is None else d for p, d in zip(trained, down, strict=True)]
    step = 1e-6
    with torch.no_grad():
        before = layer.weight_delta("default").clone()
        norm = before  # DoRA holds its norm for a constant, which a difference cannot
        for parameter, change in zip(trained, down, strict=True):
            parameter.add_(step * change)
        moved = (layer.weight_delta("default") - norm) / step
    if method is not OwnDora:
        assert largest_difference(moved, torch.tensor(report.effective)) < 1e-3 * abs(report.effective).max()


@every_method
def test_a_spectrum_and_an_xray_of_the_model_and_of_the_folder(method, tmp_path):
    base = BlockNet().double()
    model = own_model(method, copy.deepcopy(base))
    delta = encoder(model).weight_delta("default", torch.float64).detach()
    assert largest_difference(delta_matrix(encoder(model)).detach(), delta) < 1e-12
    wanted = torch.linalg.svdvals(delta)
    values = delta_spectrum(model, "encoder").singular_values
    assert np.abs(np.pad(values, (0, 24 - len(values))) - wanted.numpy()).max() < 1e-10
    model.save_pretrained(tmp_path)
    live, folder = xray(model), xray(tmp_path, base)
    for report in (live, folder):
        assert report.method == method.__name__
        row = next(row for row in report.rows if row.layer == "encoder")
        assert (
            abs(row.norm - norm_of(model)) < 1e-10
            and row.shape == (48, 24)
            and row.params == path_budget(model).rows[0].params
        )
        assert row.parts["B"] == pytest.approx(row.norm) and not row.unknown
        if method is Ripple:
            assert row.parts["E"] == pytest.approx(float(encoder(model).bias_delta("default").detach().norm()))
        if method is Grid:
            assert row.block_norms.shape == (2, 2)


def test_an_xray_of_a_folder_without_the_base_says_what_it_cannot_know(tmp_path):
    own_model(OwnDora).save_pretrained(tmp_path)
    report = xray(tmp_path)
    assert all("B" in row.unknown and np.isnan(row.norm) for row in report.rows)


@every_method
def test_merging(method):
    report = merge_report(own_model(method), cycles=3, dtype="float32")
    assert report.method == method.__name__
    rows = [row for row in report.rows if row.by == "glora_lab"]
    assert [row.layer for row in rows] == TARGETS and all(row.drift.tolist() == [0.0] * 4 for row in rows)
    assert all(row.effect > 1e-3 and row.merged < 1e-3 for row in rows)
    assert len(report.rows) == len(rows) and all("stock PEFT" in name for name in report.left_out)


def test_a_cost():
    model, (x, y) = BlockNet(), inputs()
    methods = {
        "mine": OwnLora.config(r=2, target_modules=TARGETS),
        "LoRA": peft.LoraConfig(r=2, target_modules=TARGETS),
    }
    report = cost_report(model, (x.float(), y.float()), methods, repeats=1)
    mine, stock = report.rows
    assert mine.method == "OwnLora" and (mine.params, mine.checkpoint_bytes) == (stock.params, stock.checkpoint_bytes)
    assert mine.flops == stock.flops and mine.saved_bytes > 0


@every_method
def test_blocks(method):
    model = own_model(method)
    grid = block_grid(model, "encoder")
    k = 2 if method is Grid else 1
    assert grid.norms.shape == (k, k) and np.sqrt((grid.norms**2).sum()) == pytest.approx(norm_of(model))
    assert grid.rank == torch.linalg.matrix_rank(encoder(model).weight_delta("default")).item()
    if method in (Grid, OwnLora):
        detail = block_detail(model, "encoder", k - 1, 0)
        whole = encoder(model).weight_delta("default").detach().numpy()
        assert np.abs(detail.block - whole[-48 // k :, : 24 // k]).max() < 1e-10


def test_a_snippet_makes_the_configuration_again():
    config = Ripple.config(r=2, strength=2, target_modules=["encoder"], rank_pattern={"encoder": 3})
    made: dict = {"Ripple": Ripple}
    exec(config_snippet(config), made)
    assert made["config"] == config
    assert config_snippet(config, "peft").startswith("# PEFT cannot say this: ") and "Ripple" in config_snippet(config)


def test_export_as_a_plain_lora_and_not_as_something_of_pefts(tmp_path):
    base = BlockNet().double()
    model, (x, _) = own_model(OuterProduct, copy.deepcopy(base)), inputs()
    with pytest.raises(ValueError, match=r'nothing was written.*\n.*format="lora"|format="lora"'):
        export_peft(model, tmp_path / "peft")
    assert not (tmp_path / "peft").exists()
    report = export_peft(model, tmp_path / "lora", format="lora")
    assert {row.rank for row in report.rows} == {4} and max(row.error for row in report.rows) < 1e-12
    assert "base_model.model.encoder.lora_A.weight" in load_file(tmp_path / "lora" / "adapter_model.safetensors")
    loaded = peft.PeftModel.from_pretrained(base, tmp_path / "lora")
    assert largest_difference(loaded(x), model(x)) < 1e-10


def test_a_bias_goes_along_as_lora():
    model, (x, _) = own_model(Ripple), inputs()
    assert not encoder(model).supports_lora_conversion("default")
    stir(model)
    assert largest_difference(model(x), model(x)) == 0


def test_an_xray_without_the_base_where_the_tensors_tell_the_sizes(tmp_path):
    for method in (OuterProduct, OwnLora, OwnVera, OwnLoha, Grid):
        model = own_model(method)
        model.save_pretrained(tmp_path / method.__name__)
        row = xray(tmp_path / method.__name__).rows[1]
        assert (row.layer, row.shape) == ("encoder", (48, 24)) and row.norm == pytest.approx(norm_of(model))


def test_a_damaged_folder_is_refused_by_the_xray_as_by_loading(tmp_path):
    own_model(OuterProduct).save_pretrained(tmp_path)
    config = tmp_path / "adapter_config.json"
    written = json.loads(config.read_text())
    for change, words in (
        ({"delta_method": "Nobody"}, "must name a DeltaMethod that is defined here"),
        ({"r": 3}, r"must be \[(out|48), 3\]"),
        ({"settings": {"alpha": 2}}, "is no setting of OuterProduct"),
        ({"settings": [1]}, "must be a dict"),
    ):
        config.write_text(json.dumps({**written, **change}))
        with pytest.raises(ValueError, match=words):
            xray(tmp_path)
        with pytest.raises(ValueError, match=words):
            load_adapter(BlockNet().double(), tmp_path)
