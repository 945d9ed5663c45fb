"""Bars that add up to the record's sums, inert paths that keep their place, deep models grouped."""

from __future__ import annotations

import json

import plotly.graph_objects as go
import pytest

from glora_lab.drawing.theme import PATH_COLORS, struck
from glora_lab.figures import describe_path_budget, plot_path_budget
from glora_lab.records import PathBudget, PathCount
from tests.ideas.literal import NO_BIAS, deep_budget, glora_budget, lora_budget


def totals(figure: go.Figure) -> dict[str, tuple[int, ...]]:
    """Path → its share of each budget's total: the traces that the legend shows."""
    return {trace.legendgroup: tuple(trace.x) for trace in figure.data if trace.showlegend is None}


def rows(figure: go.Figure, column: int) -> dict[str, dict[str, int]]:
    """Path → label → parameters in one column."""
    return {
        trace.legendgroup: dict(zip(trace.y, trace.x, strict=True))
        for trace in figure.data
        if trace.xaxis == f"x{column + 2}"
    }


def test_the_totals_are_the_records() -> None:
    figure = plot_path_budget([glora_budget(), lora_budget()])
    assert totals(figure) == {"A": (60, 0), "B": (60, 60), "D": (10, 0)}
    assert figure.layout.barmode == "stack"
    for trace in figure.data:
        assert trace.marker.color == PATH_COLORS[trace.legendgroup]


def test_each_layer_is_a_row_and_each_budget_a_column() -> None:
    figure = plot_path_budget([glora_budget(), lora_budget()])
    assert rows(figure, 0)["A"] == {"query": 40, "value": 20}
    assert rows(figure, 0)["D"] == {"query": 10, "value": 0}
    assert rows(figure, 1) == {"B": {"query": 40, "value": 20}}
    assert figure.layout.xaxis2.range == figure.layout.xaxis3.range  # compared, so on one scale
    wide = [axis.domain[1] - axis.domain[0] for axis in (figure.layout.xaxis2, figure.layout.xaxis3)]
    assert wide[0] == pytest.approx(wide[1])
    assert figure.layout.xaxis3.title.text == "LoRA, parameters"


def test_several_of_one_method_go_by_names_of_their_own() -> None:
    named = {"first <layers>": glora_budget(), "all": glora_budget()}
    figure = plot_path_budget(named)
    assert totals(figure) == {"A": (60, 60), "B": (60, 60), "D": (10, 10)}
    assert [text.replace("\u200b", "") for text in figure.data[0].y] == ["first &lt;layers&gt;", "all"]
    assert figure.layout.xaxis3.title.text == "all, parameters"
    assert "<b>first &lt;layers&gt;</b> 130 and <b>all</b> 130" in figure.layout.title.text
    assert describe_path_budget(named).startswith("first <layers> trains 130 parameters")


def test_a_deep_model_is_grouped_by_kind_of_layer() -> None:
    figure = plot_path_budget(deep_budget())
    assert rows(figure, 0)["A"] == {"self_attn.q_proj ×80": 8000, "mlp.up_proj ×80": 24000}
    assert totals(figure) == {"A": (32000,), "B": (32000,), "C": (0,)}
    assert figure.layout.height < 400
    assert len(json.dumps(figure.to_plotly_json(), default=str)) < 20_000


def test_of_more_than_two_the_title_says_the_least_and_the_most() -> None:
    named = {"few": lora_budget(), "many": glora_budget(), "also few": lora_budget()}
    assert plot_path_budget(named).layout.title.text.endswith(": from <b>few</b> 60 to <b>many</b> 130")
    equal = {name: lora_budget() for name in ("x", "y", "z")}
    assert plot_path_budget(equal).layout.title.text.endswith("<b>x</b> 60, <b>y</b> 60 and <b>z</b> 60")


def test_beside_a_deep_model_few_layers_are_grouped_by_kind_as_well() -> None:
    few = PathBudget(tuple(row for row in deep_budget().rows if row.layer.endswith("layers.0.self_attn.q_proj")))
    figure = plot_path_budget({"few": few, "deep": deep_budget()})
    assert rows(figure, 0)["A"] == {"self_attn.q_proj ×1": 100}
    assert rows(figure, 1)["A"]["self_attn.q_proj ×80"] == 8000


def test_inert_paths_are_struck_hatched_and_zero() -> None:
    (inert,) = [trace for trace in plot_path_budget(deep_budget()).data if trace.legendgroup == "C"]
    assert inert.name == f"{struck('C vector')} inert, 0"
    assert tuple(inert.x) == (0,) and inert.marker.pattern.shape == "x"


def test_a_path_that_is_inert_in_some_layers_only_is_not_struck() -> None:
    figure = plot_path_budget(glora_budget())
    names = {trace.name for trace in figure.data}
    assert names == {"A lora", "B lora", "D vector"}
    assert not any("inert" in annotation.text for annotation in figure.layout.annotations)


def test_sums_stand_at_the_end_of_the_bars() -> None:
    texts = [annotation.text for annotation in plot_path_budget([glora_budget(), lora_budget()]).layout.annotations]
    assert texts[0].startswith("130 · 10.0%") and texts[1:3] == ["90", "40"]
    assert texts[3:] == ["60 · 4.62%", "40", "20"]


def test_titles_say_the_finding() -> None:
    assert plot_path_budget(glora_budget()).layout.title.text == "<b>GLoRA</b> trains 130 parameters, 10.0% of tiny"
    two = plot_path_budget([glora_budget(), lora_budget()]).layout.title.text
    assert two == "<b>GLoRA</b> trains 130 parameters of tiny, 2.17 times as many as <b>LoRA</b> (60)"
    same = plot_path_budget({"x": lora_budget(), "y": lora_budget()}).layout.title.text
    assert same == "Trainable parameters of tiny: <b>x</b> 60 and <b>y</b> 60"
    assert plot_path_budget(PathBudget(())).layout.title.text == "<b>GLoRA</b>: nothing to train"


def test_the_rows_keep_their_names_where_the_first_budget_is_empty() -> None:
    layout = plot_path_budget([PathBudget(()), lora_budget()]).layout
    assert (layout.yaxis2.showticklabels, layout.yaxis3.showticklabels) == (False, True)


def test_equal_names_do_not_fall_on_one_bar() -> None:
    figure = plot_path_budget([glora_budget(), glora_budget()])
    assert len(set(figure.data[0].y)) == 2


def test_in_words() -> None:
    assert describe_path_budget([glora_budget(), lora_budget()]) == (
        "GLoRA trains 130 parameters, 10.0% of the frozen ones, in 2 layers of tiny: A 60, B 60 and D 10. "
        f"D is inert in 1 of 2 layers: {NO_BIAS}. "
        "LoRA trains 60 parameters, 4.62% of the frozen ones, in 2 layers of tiny: B 60."
    )
    assert describe_path_budget(PathBudget(())) == "GLoRA trains 0 parameters, in no layer."


def test_a_path_that_works_in_some_layers_is_not_called_inert() -> None:
    """Qwen2.5 has a bias on three of its seven kinds of layer: C works there, and is counted."""
    rows = (PathCount("q", "C", "vector", 4), PathCount("o", "C", "vector", 0, NO_BIAS), PathCount("o", "B", "lora", 9))
    budget = PathBudget(rows, model_params=100)
    assert budget.inert_layers() == {"C": 1} and budget.inert_everywhere() == {}
    assert "C is inert in 1 of 2 layers: the layer has no bias" in describe_path_budget(budget)
    assert not any("inert" in note.text for note in plot_path_budget(budget).layout.annotations)
