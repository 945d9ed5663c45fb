"""rank_for_budget: within the budget, and one step more would not be; counted on the real model."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import GraloraConfig as StockGraloraConfig
from peft import IA3Config, LoraConfig, PeftConfig
from torch import nn

from glora_lab.adapters import DeltaMethod, GloraConfig, GraloraConfig
from glora_lab.ideas.budget.measure_equal_budget import equal_ranks, rank_table
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


@pytest.mark.parametrize("name", [name for name in MAKE if not {"pinned", "and", "stock"} & set(name.split())])
def test_a_table_has_the_parameters_of_each_rank_without_building_any(name: str) -> None:
    step, make = MAKE[name]
    table = rank_table(Reader(), make(step), 1000)
    assert table == {rank: path_budget(Reader(), make(rank)).total for rank in table}
    assert list(table) == [step * n for n in range(1, len(table) + 1)] and max(table.values()) <= 1000
    assert path_budget(Reader(), make(max(table) + step)).total > 1000


def test_a_table_of_a_method_of_ones_own_and_of_what_has_no_rank() -> None:
    class Core(DeltaMethod):
        def shapes(self, out, in_, r):
            return {"A": (r, in_), "B": (out, r * r)}

        def delta(self, w0, A, B):
            return B.reshape(len(B), *2 * [len(A)]).sum(1) @ A

    table = rank_table(Reader(), Core.config(target_modules=BOTH), 1000)
    assert table == {r: 36 * r + 36 * r * r for r in (1, 2, 3, 4)}
    assert rank_table(Reader(), GloraConfig.only(E="vector", target_modules=BOTH), 1000) == {1: 24}
    assert rank_table(Reader(), LoraConfig(target_modules=BOTH), 10) == {1: 72}  # the smallest, though it is too much


TABLES = st.dictionaries(
    st.text(max_size=3),
    st.tuples(st.integers(1, 4), st.integers(0, 500), st.integers(1, 300), st.integers(1, 20)).map(
        lambda line: {line[0] * n: line[1] + line[2] * n for n in range(1, line[3] + 1)}
    ),
    min_size=2,
    max_size=4,
)


@given(tables=TABLES, params=st.integers(1, 5000))
def test_what_is_called_equal_is_within_two_per_cent_and_the_nearest(tables, params) -> None:
    ranks = equal_ranks(tables, params)
    ends = {count for table in tables.values() for count in table.values()}
    able = [e for e in ends if all(any(0.98 * e <= c <= e for c in table.values()) for table in tables.values())]
    if ranks is None:
        assert not able
        return
    counts = [tables[name][rank] for name, rank in ranks.items()]
    assert ranks.keys() == tables.keys() and min(counts) >= 0.98 * max(counts)
    assert abs(max(counts) - params) == min(abs(end - params) for end in able)


@settings(max_examples=40, deadline=None)
@given(
    rank=st.integers(1, 12),
    k=st.sampled_from([1, 2, 4]),
    hybrid=st.integers(0, 3),
    paths=st.sampled_from(["AB", "ABCDE", "AE", "BC"]),
    targets=st.sampled_from([["first"], ["second"], BOTH]),
)
def test_equal_ranks_on_a_model_are_equal_as_peft_counts(rank, k, hybrid, paths, targets) -> None:
    modes = {path: "vector" if path in "DE" else "lora" for path in paths}
    configs = {
        "LoRA": LoraConfig(r=1, target_modules=targets),
        "GLoRA": GloraConfig.only(**modes, r=1, target_modules=targets),
        "GraLoRA": GraloraConfig(r=k, gralora_k=k, hybrid_r=hybrid, target_modules=targets),
    }
    asked = 36 * rank * len(targets)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of paths that have no bias to work on
        tables = {name: rank_table(Reader(), config, 8 * asked) for name, config in configs.items()}
        ranks = equal_ranks(tables, asked)
        totals = []
        for name, r in (ranks or {}).items():
            configs[name].r = r
            totals.append(path_budget(Reader(), configs[name]).total)
    assert not totals or min(totals) >= 0.98 * max(totals)
