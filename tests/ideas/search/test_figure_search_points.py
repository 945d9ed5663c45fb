"""The points that the page lays out: places, order, front and marks, from literal records."""

from __future__ import annotations

import json

import pytest

from glora_lab.ideas.search.figure_search_points import across, search_points, words_of
from glora_lab.records import SearchResult, Trial


def trial(number: int, params: int, metric: float, name: str = "") -> Trial:
    return Trial(number, params, metric, 1.0, str(number), "inherited", 0.1, name)


TRIALS = (
    trial(0, 1000, 0.50, "rank 1"),
    trial(1, 2000, 0.60, "rank 2"),
    trial(2, 100, 0.40, "BitFit"),
    trial(3, 1500, 0.65),
    trial(7, 1800, 0.30),
)


def test_places_order_and_front_are_of_the_trials() -> None:
    points = search_points(SearchResult(TRIALS), 100, 10_000)
    assert points["x"] == [0.5, 0.6505, 0.0, 0.588, 0.6276]
    assert [TRIALS[n].params for n in points["order"]] == [100, 1000, 1500, 1800, 2000]
    assert points["front"] == [2, 0, 3] and points["ranks"] == [0, 1] and points["known"] == [[2, "BitFit"]]
    lowest, highest = min(points["y"]), max(points["y"])
    assert points["y"].index(lowest) == 4 and points["y"].index(highest) == 3
    assert 0 < lowest < 0.1 and 0.9 < highest < 1
    assert points["finding"] == "5 trials, 3 on the front, up to 65.0%"
    assert "These are scores of shared weights and no results" in points["says"]
    assert points["words"][4] == words_of(TRIALS[4]) == "1,800 parameters, 30.0% of the validation part, trial 7"
    assert points["words"][2].endswith("trial 2, BitFit")


def test_marks_stand_at_round_numbers() -> None:
    points = search_points(SearchResult(TRIALS), 400, 20_000)
    assert [text for _, text, _ in points["marks"]["x"]] == ["500", "1,000", "2,000", "5,000", "10,000", "20,000"]
    assert [text for _, text, narrow in points["marks"]["x"] if narrow] == ["1,000", "10,000"]
    assert [text for _, text in points["marks"]["y"]] == ["30%", "40%", "50%", "60%"]
    wide = search_points(SearchResult(()), 3, 60_000)
    assert [text for _, text, _ in wide["marks"]["x"]] == ["10", "100", "1,000", "10,000"]


@pytest.mark.parametrize(("params", "place"), [(100, 0.0), (1000, 0.5), (10_000, 1.0), (3, 0.0), (10**6, 1.0)])
def test_a_count_lies_between_the_edges(params: int, place: float) -> None:
    assert across(params, 100, 10_000) == place
    assert across(params, 50, 50) == 0.5


def test_it_is_json_alone_and_of_no_trial_as_well() -> None:
    for found in (SearchResult(TRIALS, 1900), SearchResult(())):
        points = search_points(found, 100, 10_000)
        assert json.loads(json.dumps(points)) == points
    assert points["x"] == [] and points["finding"] == "No trial yet"
