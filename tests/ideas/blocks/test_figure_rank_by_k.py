"""The rank of ΔW over k drawn: a bar each, LoRA's in its colour, a line where the layer is."""

from __future__ import annotations

from glora_lab.figures import describe_rank_by_k, plot_rank_by_k
from glora_lab.records import RankAtK
from tests.ideas.blocks.test_figure import grid

ROWS = [RankAtK(1, 6, 480), RankAtK(2, 12, 480), RankAtK(3, 18, 480)]


def test_a_bar_for_each_k_and_a_line_for_the_layer():
    bars, here = plot_rank_by_k(ROWS, grid(rank=11)).data
    assert (list(bars.x), list(bars.y), list(bars.text)) == (["1", "2", "3"], [6, 12, 18], ["6", "12", "18"])
    assert list(bars.marker.color) == ["#489CCC", "#FC600C", "#FC600C"]
    assert (list(here.x), list(here.y)) == (["2"], [11])
    assert list(plot_rank_by_k(ROWS).data[1].x) == list(plot_rank_by_k(ROWS, grid(rank=None)).data[1].x) == []


def test_title_and_words_say_ranks_and_parameters():
    title = plot_rank_by_k(ROWS).layout.title.text
    assert title.startswith("Rank of ΔW over k: 6 / 12 / 18<br>") and "480 parameters at every k" in title
    assert describe_rank_by_k(ROWS, grid(rank=11)) == (
        "With random values the rank of ΔW is 6 at k 1, 12 at k 2, 18 at k 3. 480 parameters at every k. "
        "The layer that is shown has rank 11 at k 2."
    )
    assert "layer that is shown" not in describe_rank_by_k(ROWS)


def test_other_counts_and_a_single_row_are_said_as_they_are():
    assert "480 to 500 parameters" in describe_rank_by_k([*ROWS, RankAtK(6, 24, 500)])
    assert describe_rank_by_k(ROWS[:1]).endswith("480 parameters.")
