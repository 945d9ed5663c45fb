"""A search drawn from literal records: trials, front, limit, path map, importances, agreement."""

from __future__ import annotations

import pytest

from glora_lab.drawing.theme import METHOD_COLORS, path_color
from glora_lab.figures import (
    describe_agreement,
    describe_path_map,
    describe_search,
    plot_agreement,
    plot_importance,
    plot_path_map,
    plot_search,
)
from glora_lab.records import Agreement, Importance, PathChoice, PathMap, SearchResult, Trial, Verified


def trial(number: int, params: int, metric: float, name: str = "", engine: str = "inherited") -> Trial:
    return Trial(number, params, metric, 1.0, str(number), engine, 0.1, name)


TRIALS = (
    trial(0, 1000, 0.50, "rank 1"),
    trial(1, 2000, 0.60, "rank 2"),
    trial(2, 200, 0.40, "BitFit"),
    trial(3, 1500, 0.65),
    trial(4, 1800, 0.30),
)
AGREEMENT = Agreement("inherited", (0.1, 0.3, 0.2), (0.2, 0.5, 0.4), (10, 5, 30), 1.0, -0.33)
FOUND = SearchResult(TRIALS, 1900, AGREEMENT, (Verified(3, 1500, 1000, (0.6, 0.7), (0.6, 0.7), (0.7, 0.7)),))
MAP = PathMap(
    (
        PathChoice("block.0.q", "A", "none", 0, 0),
        PathChoice("block.0.q", "B", "lora", 8, 160),
        PathChoice("block.0.q", "E", "vector", 0, 10),
        PathChoice("block.1.q", "A", "lora", 4, 80),
        PathChoice("block.1.q", "B", "none", 0, 0),
        PathChoice("block.1.q", "E", "none", 0, 0),
    )
)


def test_every_trial_stands_in_the_picture_once_and_the_front_is_joined() -> None:
    figure = plot_search(FOUND, chosen=4)
    traces = {trace.name: trace for trace in figure.data}
    assert list(traces) == ["trials", "one rank everywhere", "front", "known methods", "chosen"]
    assert tuple(traces["trials"].x) == (1500, 1800) and tuple(traces["known methods"].text) == ("BitFit",)
    assert (tuple(traces["one rank everywhere"].x), traces["one rank everywhere"].line.dash) == ((1000, 2000), "dot")
    assert traces["one rank everywhere"].line.color == METHOD_COLORS["LoRA"]
    assert (tuple(traces["front"].x), tuple(traces["front"].y)) == ((200, 1000, 1500), (0.4, 0.5, 0.65))
    assert tuple(traces["chosen"].x) == (1800,)
    (limit,) = figure.layout.shapes
    assert (limit.x0, limit.x1, limit.label.text) == (1900, 1900, "limit 1,900")
    assert figure.layout.title.text == "5 trials, <b>3</b> on the front, up to 65.0%"


def test_shared_weights_are_said_to_give_no_results() -> None:
    words = describe_search(FOUND)
    assert "scores of shared weights and no results" in words and "τ 1.00 of inherited" in words
    assert "Trial 3 trained anew is no better than LoRA of 1,000 parameters" in words
    real = describe_search(SearchResult((trial(0, 10, 0.5, engine="short"),)))
    assert "no results" not in real and "10 parameters 50.0%" in real


def test_a_search_without_a_trial_says_so() -> None:
    assert plot_search(SearchResult(())).layout.title.text == "No trial yet"


def test_a_study_is_drawn_by_its_result() -> None:
    class Study:
        result = FOUND

    assert plot_search(Study()).to_dict() == plot_search(FOUND).to_dict()


def test_a_path_map_has_a_bar_for_each_path_that_is_on_as_wide_as_its_rank() -> None:
    figure = plot_path_map(MAP)
    a, b, e = figure.data
    assert (tuple(a.y), tuple(a.x), tuple(a.text)) == (("block.1.q",), (pytest.approx(0.45),), ("4",))
    assert (tuple(b.y), tuple(b.x), tuple(b.base)) == (("block.0.q",), (pytest.approx(0.9),), (pytest.approx(0.55),))
    assert tuple(e.x) == (0.16,) and [bar.marker.color for bar in (a, b, e)] == [path_color(p) for p in "ABE"]
    assert figure.layout.title.text == "250 parameters, 68% of them in <b>block.0.q</b>"
    assert tuple(figure.layout.yaxis.categoryarray) == ("block.0.q", "block.1.q")
    assert describe_path_map(MAP) == "block.0.q: B lora of rank 8 and E vector; block.1.q: A lora of rank 4."


def test_layers_that_are_left_are_counted() -> None:
    rows = (PathChoice("a", "B", "gralora", 4, 40, 2), PathChoice("b", "B", "none", 0, 0))
    assert describe_path_map(PathMap(rows)) == "a: B gralora of rank 4, 2×2 blocks. 1 layer is left as it is."
    assert plot_path_map(PathMap(rows[1:])).layout.title.text == "Nothing to train"


def test_importances_and_agreement() -> None:
    figure = plot_importance(Importance("accuracy", {"q: rank": 0.7, "v: rank": 0.3}, 20))
    assert (
        tuple(figure.data[0].x) == (0.7, 0.3) and figure.layout.title.text == "<b>q: rank</b> explains 70% of accuracy"
    )
    scored, counted = plot_agreement(AGREEMENT).data
    assert tuple(scored.x) == AGREEMENT.scored and tuple(counted.x) == AGREEMENT.params
    assert tuple(scored.y) == tuple(counted.y) == AGREEMENT.trained
    assert "counting parameters orders as well" in describe_agreement(Agreement("x", (1.0,), (1.0,), (1,), 0.1, 0.5))
