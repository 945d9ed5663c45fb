"""The sums that a budget and a picture offer and the ratios of a cost report, so that no figure has to compute."""

from __future__ import annotations

import math

import numpy as np
import pytest

from glora_lab.ideas.cost.record import KINDS
from glora_lab.records import Cost, CostReport, PathBudget, PathCount, RankReach, Reach, WeightChange
from tests.ideas.literal import deep_budget, fresh_picture, glora_budget, picture


def names(*layers: str) -> PathBudget:
    return PathBudget(tuple(PathCount(layer, "B", "lora", 1) for layer in layers))


def test_sums_by_layer_and_path_keep_order_and_zeros() -> None:
    assert glora_budget().by_layer_and_path() == {
        "block.0.query": {"A": 40, "B": 40, "D": 10},
        "block.0.value": {"A": 20, "B": 20, "D": 0},
    }
    assert PathBudget(()).by_layer_and_path() == {}


def test_a_kind_is_the_name_without_indices_and_without_what_all_share() -> None:
    assert list(deep_budget(layers=2).kinds().values()) == ["self_attn.q_proj", "mlp.up_proj"] * 2
    assert names("h.0.attn.out", "h.1.attn.out").kinds() == {"h.0.attn.out": "out", "h.1.attn.out": "out"}
    assert names("a", "a.b").kinds() == {"a": "a", "a.b": "a.b"}
    assert PathBudget(()).kinds() == {}


def test_sums_by_kind_add_up_to_the_total() -> None:
    budget = deep_budget()
    assert budget.by_kind_and_path()["mlp.up_proj"] == {"A": 24_000, "B": 24_000, "C": 0}
    assert sum(sum(paths.values()) for paths in budget.by_kind_and_path().values()) == budget.total


def test_a_picture_knows_how_much_changed() -> None:
    assert picture().total == 23
    assert picture().bias_change == 0.75 / math.sqrt(2)
    assert math.isclose(picture(w_eff=1.5 * picture().w0).weight_change, 0.5)
    assert fresh_picture().weight_change == fresh_picture().bias_change == 0
    assert picture(b0=np.zeros(2)).bias_change == math.inf


def test_ratios_are_to_the_named_method() -> None:
    rows = (Cost("frozen", "frozen", 6, 0, 0, 0, 0, 1.0), Cost("LoRA", "LoRA", 12, 5, 8, 2, 4, 4.0))
    report = CostReport(rows)
    assert report.ratio()["frozen"] == dict(zip(KINDS, (0.5, 0, 0, 0, 0, 0.25), strict=True))
    assert set(report.ratio()["LoRA"].values()) == {1.0}
    back = report.ratio("frozen")
    assert back["LoRA"]["flops"] == 2 and back["LoRA"]["params"] == math.inf and math.isnan(back["frozen"]["params"])
    assert report.row("LoRA") is rows[1] and report.names == ("frozen", "LoRA")


def test_a_method_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match=r"`name` \(='DoRA'\) must be one of: a, b"):
        CostReport(tuple(Cost(name, "LoRA", 1, 1, 1, 1, 1, 1.0) for name in "ab")).ratio("DoRA")


def test_reach_is_a_mean_over_draws_and_knows_the_winner() -> None:
    errors = {("a", 1): (0.5, 0.6), ("a", 2): (0.2, 0.3), ("b", 1): (0.50, 0.52), ("b", 2): (0.52, 0.53)}
    rows = [Reach(n, d, k, 4, 64, 4 * k + d, e) for (n, k), both in errors.items() for d, e in enumerate(both)]
    reach = RankReach(tuple(reversed(rows)))
    assert (reach.names, reach.ks) == (["b", "a"], [1, 2])
    assert {k: round(error, 9) for k, error in reach.errors("a").items()} == {1: 0.55, 2: 0.25}
    assert reach.ranks("a") == {1: 5, 2: 9}
    assert (reach.best("a"), reach.best("b"), reach.best("b", margin=0.01)) == (2, None, 1)
    assert reach.trained("a") == {} and reach.training_gap is None


def test_reach_knows_what_training_left() -> None:
    rows = (
        Reach("a", 0, 1, 4, 64, 4, 0.5, 0.51),
        Reach("a", 1, 1, 4, 64, 4, 0.5, 0.53),
        Reach("a", 0, 2, 4, 64, 8, 0.5),
    )
    reach = RankReach(rows)
    assert {k: round(error, 9) for k, error in reach.trained("a").items()} == {1: 0.52}
    assert reach.training_gap is not None and math.isclose(reach.training_gap, 0.03)


def test_the_rank_of_a_change_leaves_rounding_out() -> None:
    values = np.array([[2.0, 1.0, 1e-16], [2.0, 1.0, 1.0]])
    assert WeightChange("w", np.ones((2, 3, 4)), values).rank == 2
    assert WeightChange("w", np.zeros((1, 3, 4)), np.zeros((1, 3))).rank == 0
