"""A method that fills the table of what it is meets every instrument, which knows no method by its class."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import peft
import pytest
import torch
from torch import nn

from glora_lab.adapters.base.frozen import frozen_base
from glora_lab.adapters.peft_layers import table_of
from glora_lab.adapters.stock.as_lora import lora_factors
from glora_lab.adapters.tuner.config import LabConfig
from glora_lab.adapters.tuner.factors import Blocks, beside, one_block
from glora_lab.adapters.tuner.layer import LabLayer
from glora_lab.adapters.tuner.module import LabModule
from glora_lab.adapters.view import delta_matrix, factor_pairs, has_paths
from glora_lab.measure import (
    block_detail,
    block_grid,
    delta_spectrum,
    gradient_report,
    merge_report,
    path_activity,
    path_budget,
    xray,
)
from tests.adapters.own.methods import OuterProduct, OwnLora
from tests.adapters.own.own_models import own_model
from tests.source import MODULES, PACKAGE, tree

OUT, IN = 6, 8
# who may tell a method's layers by their class: the methods themselves, and the one place that knows PEFT's
AT_HOME = ("adapters/glora/", "adapters/gralora/", "adapters/own/", "adapters/peft_layers.py")
METHODS_LAYERS = {
    f"{stock}{name}{kind}"
    for stock in ("", "Stock")
    for name in ("Glora", "Gralora", "Delta")
    for kind in ("Layer", "Linear")
}


@dataclass
class ScaleConfig(LabConfig):
    lab_type: ClassVar[str] = "SCALE_LAB"
    method: ClassVar[str] = "Scale"
    prefix: ClassVar[str] = "scale_"

    def plan(self, layer: str, **_):
        return SimpleNamespace(r=1, scaling=1.0)


class ScaleLayer(LabLayer):
    """W0 times a number for each row, beside an outer product; and a bias."""

    method, prefix = "Scale", "scale_"
    path_names = ("A", "B", "E")
    adapter_layer_names = ("scale_A", "scale_B", "scale_E")
    other_param_names = ("r", "scaling", "plans")

    def container(self, name):
        return nn.ParameterDict()

    def make_tensors(self, adapter_name, plan, *, no_op):
        self.scale_A[adapter_name] = nn.Parameter(torch.randn(self.out_features))
        self.scale_B[adapter_name] = nn.Parameter(torch.randn(self.out_features + self.in_features))
        self.scale_E[adapter_name] = nn.Parameter(torch.randn(self.out_features))

    def path_of(self, container):
        return container[-1]

    def modes(self, adapter_name):
        return {"A": "rows", "B": "outer", "E": "vector"}

    def inert(self, adapter_name):
        return {"E": "for the test"}

    def contributes(self, adapter_name):
        return adapter_name in self.scale_A

    def add_delta(self, total, x, result, adapter_name):
        delta = self.weight_delta(adapter_name, x.dtype)
        return total + nn.functional.linear(x, delta, self.scale_E[adapter_name])

    def path_terms(self, adapter_name, dtype=None):
        with self.original():
            w0 = frozen_base(self.base_layer, self.innermost, dtype).matrix()
        a, b, e = (getattr(self, f"scale_{path}")[adapter_name].to(dtype) for path in "ABE")
        return {"A": w0 * a[:, None], "B": torch.outer(b[: len(a)], b[len(a) :]), "E": e}

    def weight_delta(self, adapter_name, dtype=None):
        terms = self.path_terms(adapter_name, dtype)
        return terms["A"] + terms["B"]

    def bias_delta(self, adapter_name, dtype=None):
        return self.scale_E[adapter_name].to(dtype)


class ScaleLinear(LabModule, ScaleLayer):
    pass


class GridLinear(LabModule, ScaleLayer):
    """The outer product alone, cut into a grid of blocks of rank 1."""

    def blocks_of(self, adapter_name):
        b = self.scale_B[adapter_name]
        up, down = b[:OUT].view(2, 1, OUT // 2, 1), b[OUT:].view(1, 2, IN // 2, 1)
        return Blocks(up.expand(2, 2, -1, -1), down.expand(2, 2, -1, -1))

    def weight_delta(self, adapter_name, dtype=None):
        return self.blocks_of(adapter_name).matrix().to(dtype)


def model_with(kind):
    """As PEFT has a model of one layer, without a type of PEFT's for it."""
    torch.manual_seed(0)
    config = ScaleConfig()
    layer = kind(nn.Linear(IN, OUT).double().requires_grad_(False), "default", config, "layer")
    model = nn.Sequential()
    model.layer = layer
    model.peft_config, model.active_adapter = {"default": config}, "default"
    return model


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_a_method_itself_tells_its_layers_by_their_class(module):
    if str(module.relative_to(PACKAGE)).startswith(AT_HOME):
        return
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("isinstance", "issubclass"):
            named = {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
            assert not named & METHODS_LAYERS, f"{module.relative_to(PACKAGE)}:{node.lineno}"


def test_a_third_method_meets_every_instrument():
    model = model_with(ScaleLinear)
    layer, x = model.layer, torch.randn(5, IN).double()
    delta = delta_matrix(layer).detach()
    budget = path_budget(model)
    assert [(row.path, row.mode, row.params, row.inert) for row in budget.rows] == [
        ("A", "rows", OUT, ""), ("B", "outer", OUT + IN, ""), ("E", "vector", OUT, "for the test")
    ]  # fmt: skip
    assert budget.method == "Scale" and budget.model_params == (IN + 1) * OUT
    norms = {path: term.norm().item() for path, term in layer.path_terms("default", torch.float64).items()}
    assert path_activity(model).norms == pytest.approx(norms)
    report = gradient_report(model, (x, torch.randn(5, OUT).double()), "layer")
    assert report.method == "Scale" and report.effective.any()
    values = np.linalg.svd(delta.numpy(), compute_uv=False)
    np.testing.assert_allclose(delta_spectrum(model, "layer").singular_values, values)
    (row,) = xray(model).rows
    assert xray(model).method == "Scale" and row.parts == pytest.approx(norms) and row.block_norms is None
    merged = merge_report(model, cycles=2, dtype="float64")
    assert merged.method == "Scale" and "PEFT has no Scale of its own" in merged.left_out["layer (stock PEFT)"]
    assert [one.by for one in merged.rows] == ["glora_lab"] and merged.rows[0].unmerged < 1e-12 < merged.rows[0].effect
    grid = block_grid(model, "layer")
    assert grid.k == 1 and grid.rank == np.linalg.matrix_rank(delta.numpy())
    with pytest.raises(ValueError, match="carries Scale whose ΔW is no product of factors"):
        block_detail(model, "layer", 0, 0)
    factors, error = lora_factors(layer, "default", None)
    assert error < 1e-12 and torch.equal(factors.scaling * factors.bias, layer.scale_E["default"])
    assert has_paths(layer)


def test_a_third_method_with_blocks_has_the_instruments_of_blocks():
    model = model_with(GridLinear)
    delta = delta_matrix(model.layer).detach().numpy()
    grid, (row,) = block_grid(model, "layer"), xray(model).rows
    assert grid.k == 2 and (grid.ranks == 1).all() and grid.rank == 1
    np.testing.assert_allclose(row.block_norms, grid.norms)
    np.testing.assert_allclose(block_detail(model, "layer", 1, 0).block, delta[OUT // 2 :, : IN // 2])
    factors, error = lora_factors(model.layer, "default", None)
    assert factors.rank == 4 and error < 1e-12  # a block each, side by side
    assert lora_factors(model.layer, "default", 1)[1] < 1e-12  # and by singular values the one that it is


@pytest.mark.parametrize("hybrid_r", [0, 3])
def test_a_grid_is_one_block_of_its_blocks_side_by_side(hybrid_r):
    k, s, o, i = 2, 3, 4, 5
    grid = Blocks(torch.randn(k, k, o, s), torch.randn(k, k, i, s), 0.5)
    wanted = torch.cat([torch.cat([grid.B[m, n] @ grid.A[m, n].T for n in range(k)], 1) for m in range(k)])
    if hybrid_r:
        down, up = torch.randn(hybrid_r, k * i), torch.randn(k * o, hybrid_r)
        grid, wanted = grid.with_lora(down, up), wanted + up @ down
    assert (grid.k, grid.r, grid.rank) == (k, k * s, k * k * s + hybrid_r) and grid.one().k == 1
    assert grid.one().B.shape[-1] == grid.rank
    torch.testing.assert_close(grid.matrix(), 0.5 * wanted)


@pytest.mark.parametrize(
    ("config", "method", "paths"),
    [
        (peft.LoraConfig(), "LoRA", ("B",)),
        (peft.GloraConfig(), "GLoRA", ("A", "B", "C", "D", "E")),
        (peft.GraloraConfig(), "GraLoRA", ("B",)),
        (peft.VeraConfig(), "", ("B",)),
    ],
)
def test_pefts_own_layers_have_the_same_table(config, method, paths):
    config.target_modules = ["0"]
    layer = peft.get_peft_model(nn.Sequential(nn.Linear(64, 64)), config).base_model.model[0]
    table = table_of(layer, config)
    assert (table.method, tuple(table.path_names), table.carried()) == (method, paths, ["default"])
    assert table.modes("default").keys() == set(paths) and not table.carries("other")
    if method == "GraLoRA":
        assert factor_pairs(layer).k == layer.gralora_k["default"]
    if method:
        assert not delta_matrix(layer).any()
    else:
        with pytest.raises(ValueError, match="none of LoRA, GLoRA and GraLoRA"):
            delta_matrix(layer)


def test_products_side_by_side_are_their_sum():
    one, other = (one_block(torch.randn(2, IN).double(), torch.randn(OUT, 2).double(), by) for by in (0.5, 2.0))
    torch.testing.assert_close(beside([one, other]).matrix(), one.matrix() + other.matrix())
    assert beside([one]) is one


def test_each_adapter_of_a_model_is_called_by_its_own_method():
    model = own_model(OuterProduct)
    model.add_adapter("other", OwnLora.config(r=2, target_modules=["encoder"]))
    assert xray(model).method == "OuterProduct" and xray(model, adapter_name="other").method == "OwnLora"
    assert table_of(model.base_model.model.encoder).modes("other") == {"B": "OwnLora"}
