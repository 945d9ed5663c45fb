"""rank_for_budget: within the budget, and one step more would not be; counted on the real model."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import GraloraConfig as StockGraloraConfig
from peft import IA3Config, LoraConfig, PeftConfig
from torch import nn

from glora_lab.adapters import GloraConfig, GraloraConfig
from glora_lab.measure import path_budget, rank_for_budget
from glora_lab.models import architecture, load_model


class Reader(nn.Module):
    """Two linear layers, the second without a bias: C, D and E cost something on the first alone."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(12, 24)
        self.second = nn.Linear(24, 12, bias=False)


BOTH = ["first", "second"]
MAKE: dict[str, tuple[int, Callable[[int], PeftConfig]]] = {  # name → smallest rank, rank → configuration
    "LoRA": (1, lambda r: LoraConfig(r=r, target_modules=BOTH)),
    "LoRA, a layer's rank pinned": (1, lambda r: LoraConfig(r=r, target_modules=BOTH, rank_pattern={"second": 3})),
    "GLoRA A+B": (1, lambda r: GloraConfig.only(A="lora", B="lora", r=r, target_modules=BOTH)),
    "GLoRA all": (1, lambda r: GloraConfig(r=r, config_D_E="vector", target_modules=BOTH)),
    "GraLoRA k 4": (4, lambda r: GraloraConfig(r=r, gralora_k=4, target_modules=BOTH)),
    "GraLoRA k 3, hybrid": (3, lambda r: GraloraConfig(r=r, gralora_k=3, hybrid_r=2, target_modules=BOTH)),
    "GraLoRA k 2 and 3": (6, lambda r: GraloraConfig(r=r, k_pattern={"first": 3}, target_modules=BOTH)),
    "stock GraLoRA k 2": (2, lambda r: StockGraloraConfig(r=r, gralora_k=2, target_modules=BOTH)),
}


@pytest.mark.parametrize("name", MAKE)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_never_above_and_one_step_more_would_be(name: str, data: st.DataObject) -> None:
    step, make = MAKE[name]
    model = Reader()
    params = data.draw(st.integers(path_budget(model, make(step)).total, 5000), "params")
    rank = rank_for_budget(model, make(step * data.draw(st.integers(1, 9), "start")), params)
    assert rank >= step and rank % step == 0
    assert path_budget(model, make(rank)).total <= params < path_budget(model, make(rank + step)).total


@pytest.mark.parametrize("name", MAKE)
def test_a_budget_that_fits_to_the_last_parameter_is_spent(name: str) -> None:
    step, make = MAKE[name]
    exact = path_budget(Reader(), make(5 * step)).total
    assert rank_for_budget(Reader(), make(step), exact) == 5 * step
    assert rank_for_budget(Reader(), make(step), exact - 1) == 4 * step


def test_on_the_models_of_the_course() -> None:
    model, body = load_model("digits-vit"), r".*\.(q_proj|k_proj|v_proj|o_proj|fc1|fc2)"
    lora = path_budget(model, LoraConfig(r=12, target_modules=body)).total
    assert rank_for_budget(model, GloraConfig.only(A="lora", B="lora", target_modules=body), lora) == 6
    assert rank_for_budget(model, GraloraConfig(gralora_k=4, r=4, target_modules=body), lora) == 12
    llama = architecture("Llama-3-8B")
    assert rank_for_budget(llama, LoraConfig(target_modules="all-linear"), 41_943_040) == 16


def test_model_and_configuration_are_left_as_they_are() -> None:
    model, config = Reader(), LoraConfig(r=7, target_modules=BOTH)
    rank_for_budget(model, config, 1000)
    assert config.r == 7 and config == LoraConfig(r=7, target_modules=BOTH)
    assert [type(module) for module in model.modules()] == [Reader, nn.Linear, nn.Linear]


@pytest.mark.parametrize(
    ("config", "params", "says"),
    [
        (MAKE["GraLoRA k 4"][1](4), 287, r"`params` \(=287\) must be at least 288: so many has rank 4"),
        (MAKE["LoRA"][1](4), 0, r"`params` \(=0\) must be an integer above 0"),
        (MAKE["LoRA"][1](4), 12.5, r"`params` \(=12.5\) must be an integer above 0"),
        (GloraConfig.only(E="vector", target_modules=BOTH), 500, "GloraConfig.* 24 parameters whatever its rank"),
        (IA3Config(target_modules=BOTH, feedforward_modules=[]), 500, r"\(=IA3Config\) must have a rank `r`"),
        (GraloraConfig(r=10, gralora_k=5, target_modules=BOTH), 500, r"`gralora_k` \(=5\) must divide"),
    ],
)
def test_what_cannot_be_is_refused(config: PeftConfig, params: int, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        rank_for_budget(Reader(), config, params)
