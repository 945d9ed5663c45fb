"""paths.py: shapes and counts of the five paths, against the closed form and against PEFT."""

from __future__ import annotations

import copy
import itertools

import peft
import pytest
from torch import nn

from glora_lab.adapters import GloraConfig
from glora_lab.adapters.glora.paths import MODES, PATHS

from .small_models import CHOICES, Net, choices, glora_layer, named

IN, OUT, R = 6, 5, 3


def closed_form(choice: dict[str, str], form: str, *, has_bias: bool, bias_free: str) -> int:
    """The counts in parameters: A, B r(in+out) | out | 1; C r(in+1) | in; D, E out | 1."""
    rows_of_a = IN if form == "product" else OUT
    counts = {
        "A": {"lora": R * (IN + rows_of_a), "vector": rows_of_a, "constant": 1, "none": 0},
        "B": {"lora": R * (IN + OUT), "vector": OUT, "constant": 1, "none": 0},
        "C": {"lora": R * (IN + 1), "vector": IN, "none": 0},
        "D": {"vector": OUT, "constant": 1, "none": 0},
        "E": {"vector": OUT, "constant": 1, "none": 0},
    }
    alive = "ABCDE" if has_bias else "ABCE" if bias_free == "add" else "AB"
    return sum(counts[path][choice[path]] for path in alive)


def test_there_are_432_choices():
    assert len(list(itertools.product(*MODES.values()))) == len(CHOICES) == 432
    assert all(choice[path] in MODES[path] for choice in CHOICES for path in PATHS)


@pytest.mark.parametrize("form", ["elementwise", "product"])
@pytest.mark.parametrize("has_bias, bias_free", [(True, "drop"), (True, "add"), (False, "drop"), (False, "add")])
def test_counts_equal_the_closed_form_for_every_choice(form, has_bias, bias_free):
    for choice in choices(form):
        base = nn.Linear(IN, OUT, bias=has_bias)
        layer = glora_layer(base, choice, r=R, A_form=form, bias_free=bias_free)
        expected = closed_form(choice, form, has_bias=has_bias, bias_free=bias_free)
        held = sum(p.numel() for name, p in layer.named_parameters() if not name.startswith("base_layer"))
        assert held == layer.plans["default"].total == expected, named(choice)


@pytest.mark.parametrize("a_b", ["lora", "vector", "constant", "none"])
@pytest.mark.parametrize("c", ["lora", "vector", "none"])
@pytest.mark.parametrize("d_e", ["vector", "constant", "none"])
def test_names_and_shapes_are_those_of_peft(a_b, c, d_e):
    settings = {"r": R, "target_modules": ["encoder"], "config_A_B": a_b, "config_C": c, "config_D_E": d_e}
    if a_b == c == d_e == "none":
        return  # refused here, see test_injection.py
    stock = peft.get_peft_model(Net(), peft.GloraConfig(**settings))
    ours = peft.get_peft_model(Net(), GloraConfig(**settings))
    shapes = [{name: p.shape for name, p in model.named_parameters()} for model in (stock, ours)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    "has_bias, bias_free, inert",
    [(True, "drop", ""), (True, "add", ""), (False, "drop", "CDE"), (False, "add", "D")],
)
def test_paths_that_can_do_nothing_are_named_with_a_reason(has_bias, bias_free, inert):
    config = GloraConfig.only(**dict.fromkeys("ABCDE", "vector"), bias_free=bias_free)
    plan = config.plan("layer", in_features=IN, out_features=OUT, has_bias=has_bias)
    assert set(plan.inert) == set(inert)
    assert all("no bias" in reason for reason in plan.inert.values())
    assert [path for path in PATHS if plan.modes[path] == "none"] == list(inert)


def test_a_path_that_is_off_is_not_inert():
    assert not GloraConfig.only(A="lora").plan("layer", in_features=IN, out_features=OUT, has_bias=False).inert


def test_none_costs_nothing():
    """No parameter, no buffer, no entry of a state dict, where PEFT keeps (out, in) zeros."""
    for choice in CHOICES:
        layer = glora_layer(nn.Linear(IN, OUT), choice)
        off = tuple(f"glora_{path}." for path, mode in choice.items() if mode == "none")
        assert not list(layer.buffers())
        assert not [name for name in layer.state_dict() if name.startswith(off or "-")], named(choice)
    stock = peft.get_peft_model(Net(), peft.GloraConfig(config_A_B="none", target_modules=["encoder"]))
    assert any(name.endswith("zeros") for name in stock.state_dict())


def test_a_plan_survives_copying():
    layer = glora_layer(nn.Linear(IN, OUT), CHOICES[0])
    assert copy.deepcopy(layer).plans == layer.plans
