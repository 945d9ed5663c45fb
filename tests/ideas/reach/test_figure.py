"""The reach drawn: one line a change, coloured by what comes closest, the finding on top."""

from __future__ import annotations

from itertools import pairwise

import pytest

from glora_lab.drawing.theme import FROZEN, METHOD_COLORS
from glora_lab.figures import describe_rank_reach, plot_rank_reach
from glora_lab.records import RankReach, Reach

ERRORS = {"flat": (0.5, 0.51, 0.5), "long": (0.1, 0.3, 0.6), "blocky": (0.8, 0.2, 0.4)}


def reach(changes: dict[str, tuple[float, ...]] = ERRORS, trained: float | None = None) -> RankReach:
    """k = 1, 2 and 4 at rank 4: a tie, a win for LoRA, one for k = 2. `trained` is added to the least error."""
    return RankReach(
        tuple(
            Reach(name, 0, k, 4, 64, 4 * k, error, None if trained is None else error + trained)
            for name, errors in changes.items()
            for k, error in zip((1, 2, 4), errors, strict=True)
        )
    )


def lines(figure):
    return [trace for trace in figure.data if "lines" in trace.mode]


def test_each_change_is_a_line_over_k_in_the_colour_of_what_comes_closest():
    figure = plot_rank_reach(reach())
    colors = [FROZEN, METHOD_COLORS["LoRA"], METHOD_COLORS["GraLoRA"]]
    for line, errors, color in zip(lines(figure), ERRORS.values(), colors, strict=True):
        assert (list(line.x), list(line.y), line.line.color) == ([1, 2, 4], list(errors), color)
        assert list(line.customdata) == [4, 8, 16]  # the ranks
    layout = figure.layout
    assert layout.xaxis.type == "log" and list(layout.xaxis.tickvals) == [1, 2, 4]
    assert [line.name for line in lines(figure)] == ["a tie", "LoRA comes closest", "blocks come closest"]
    assert layout.height <= 460


def test_what_comes_closest_is_in_the_legend_once():
    both = {"one": ERRORS["long"], "other": ERRORS["long"], "third": ERRORS["blocky"]}
    assert [line.showlegend for line in lines(plot_rank_reach(reach(both)))] == [True, False, True]


def test_the_chosen_change_stands_out_with_its_numbers():
    _, long, blocky = lines(plot_rank_reach(reach(), "blocky"))
    assert blocky.line.width > long.line.width and list(blocky.text) == ["0.80", "0.20", "0.40"]
    assert long.text is None and long.marker.size < blocky.marker.size
    assert list(blocky.textposition) == ["top center", "bottom center", "bottom center"]  # flat is near, above the last
    names = {note.text for note in plot_rank_reach(reach(), "blocky").layout.annotations}
    assert names == {"flat", "long", "<b>blocky</b>"}


def test_a_number_stands_clear_of_the_next_line():
    near = {"chosen": (0.79, 0.79, 0.785), "above": (0.94, 0.87, 0.7), "below": (0.6, 0.4, 0.6)}
    chosen = lines(plot_rank_reach(reach(near), "chosen"))[0]
    assert list(chosen.textposition) == ["top center", "bottom center", "top center"]  # a tie has no lowest point


def test_names_stand_where_the_lines_are_further_apart_and_make_room_for_one_another():
    close = {"a": (0.5, 0.5, 0.5), "b": (0.2, 0.3, 0.51), "c": (0.2, 0.6, 0.99), "d": (0.2, 0.6, 1.0)}
    right = plot_rank_reach(reach(close)).layout
    places = sorted(note.y for note in right.annotations)
    assert all(high - low > 0.05 for low, high in pairwise(places)) and places[-1] < 1.06
    assert {(note.x, note.xanchor) for note in right.annotations} == {(1, "left")} and right.yaxis.side is None
    meet = {"a": (0.9, 0.5, 0.5), "b": (0.6, 0.3, 0.5), "c": (0.2, 0.6, 0.4)}
    left = plot_rank_reach(reach(meet)).layout
    assert {note.text: (note.x, note.y, note.xanchor) for note in left.annotations} == {
        name: (0, errors[0], "right") for name, errors in meet.items()
    }
    assert left.yaxis.side == "right" and left.margin.l > 100


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        (ERRORS, "More rank: 1 win, 1 loss, 1 tie"),
        ({"long": ERRORS["long"]}, "<b>long</b>: LoRA comes closest, error 0.10"),
        ({"<b>": ERRORS["blocky"]}, "<b>&lt;b&gt;</b>: k = 2 comes closest, error 0.20"),
        ({"a": ERRORS["long"], "b": ERRORS["long"]}, "LoRA (k = 1) comes closest to all 2 changes"),
        ({}, "No change was asked for"),
    ],
)
def test_the_title_is_the_finding(changes, title):
    assert plot_rank_reach(reach(changes)).layout.title.text.startswith(f"{title}<br>")


def test_rings_are_what_training_reached():
    rings = [trace for trace in plot_rank_reach(reach(trained=0.05)).data if trace.mode == "markers"]
    assert [list(ring.y) for ring in rings][1] == pytest.approx([0.15, 0.35, 0.65])
    assert [ring.showlegend for ring in rings] == [True, False, False]
    assert not [trace for trace in plot_rank_reach(reach()).data if trace.mode == "markers"]


def test_of_many_changes_only_pointing_tells_the_names():
    figure = plot_rank_reach(reach({f"layer.{n:02}": ERRORS["long"] for n in range(8)}))
    assert not figure.layout.annotations and "layer.07" in lines(figure)[7].hovertemplate
    assert figure.layout.height == plot_rank_reach(reach()).layout.height


def test_in_words():
    words = describe_rank_reach(reach(trained=0.004))
    assert "for k = 1, 2 and 4: flat 0.50 / 0.51 / 0.50 (a tie); long 0.10 / 0.30 / 0.60 (LoRA comes closest)" in words
    assert "blocky 0.80 / 0.20 / 0.40 (k = 2 comes closest)." in words
    assert words.endswith("Training came within 0.004 of all of them.")
    many = reach({f"layer.{n:02}": (0.1, 0.3 + n / 100, 0.6) for n in range(7)} | {"other": ERRORS["blocky"]})
    assert describe_rank_reach(many) == (
        "Least relative error at equal parameters of 8 changes: 0.10 to 0.80 for k = 1, 0.20 to 0.36 for k = 2 and "
        "0.40 to 0.60 for k = 4; LoRA comes closest 7 times and k = 2 comes closest once."
    )
    assert (
        "Training" not in describe_rank_reach(reach()) and describe_rank_reach(reach({})) == "No change was asked for."
    )
