"""experts.py: experts that an adapter leaves out are named, with the way to reach them."""

from __future__ import annotations

import functools

import peft
import pytest
from torch import nn

from glora_lab.adapters import GloraConfig, GraloraConfig
from glora_lab.adapters.tuner.experts import expert_parameters, experts_left_out

from .expert_models import EXPERTS, FAMILIES, dbrx, expert_weights, moe
from .small_models import llama

CONFIGS = [functools.partial(GloraConfig.only, B="lora"), GraloraConfig]
WAY_OUT = r"target_parameters=\['experts.gate_up_proj', 'experts.down_proj'\]"


@pytest.mark.parametrize("family", FAMILIES)
def test_the_experts_of_a_model_are_found(family: str) -> None:
    model = moe(family)
    assert expert_parameters(model).keys() == dict(expert_weights(model)).keys() != set()


def test_experts_that_are_kept_below_each_other_are_found_and_biases_and_layers_are_none() -> None:
    assert {name.rpartition(".")[2] for name in expert_parameters(dbrx())} == {"w1", "v1", "w2"}

    class Projection(nn.Linear):
        pass

    assert expert_parameters(nn.ModuleDict({"shared_experts": Projection(4, 4)})) == {}


@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "w1", "w2", "w3"]], ids=["all-linear", "names"])
@pytest.mark.parametrize("config", CONFIGS, ids=["GLoRA", "GraLoRA"])
def test_experts_left_out_are_named_with_the_way_to_reach_them(config, targets) -> None:
    with pytest.warns(UserWarning, match=f"% of its weights.*layers.0.mlp.experts.gate_up_proj.*{WAY_OUT}") as said:
        peft.get_peft_model(moe(), config(target_modules=targets))
    (about_experts,) = [str(one.message) for one in said if "experts" in str(one.message)]
    assert ("(all-linear)" if targets == "all-linear" else "(w1, w2, w3)") in about_experts


def test_nothing_is_said_where_nothing_is_left_out() -> None:
    quiet = [
        (moe(), GraloraConfig(target_modules=["q_proj"])),
        (moe(), GraloraConfig(target_modules="all-linear", target_parameters=EXPERTS)),
        (moe(), GraloraConfig(target_modules="all-linear", target_parameters=[])),
        (llama(), GraloraConfig(target_modules="all-linear")),
    ]
    for model, config in quiet:
        assert experts_left_out(model, config) == ""
        peft.get_peft_model(model, config)  # a warning is an error here


def test_parameters_of_three_axes_are_not_experts_by_that_alone() -> None:
    model = nn.ModuleDict({"expert_convolution": nn.Conv1d(2, 2, 3), "positions": nn.ParameterList()})
    model["positions"].append(nn.Parameter(nn.Conv1d(2, 2, 3).weight.detach()))
    assert expert_parameters(model) == {}


def test_names_that_match_nothing_but_former_experts_say_so_in_the_refusal() -> None:
    with pytest.raises(
        ValueError, match=rf"matches no layer: not found in the base model.*`target_modules` \(w1\).*{WAY_OUT}"
    ):
        peft.get_peft_model(moe(), GraloraConfig(target_modules=["w1"]))


def test_what_is_said_is_bounded() -> None:
    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for i in range(100):
                self.register_parameter(f"{'long' * 40}{i}", nn.Parameter(nn.Conv1d(2, 2, 3).weight.detach()))

    model = nn.ModuleDict({"a": Experts(), "q": nn.Linear(4, 4)})
    said = experts_left_out(model, GraloraConfig(target_modules=[f"w{i}" for i in range(1000)]))
    assert "and 94 more" in said and "and 994 more" in said and len(said) < 2_500


def test_a_module_of_experts_that_is_named_as_a_layer_is_refused_with_the_way_to_reach_it() -> None:
    with pytest.raises(ValueError, match=rf"type that is not supported: .*MixtralExperts.*parameters: {WAY_OUT}"):
        peft.get_peft_model(moe(), GraloraConfig(target_modules=["experts"]))
