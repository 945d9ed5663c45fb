"""The block grid drawn: one cell a block, m downwards, the ranks in words."""

from __future__ import annotations

import numpy as np
import pytest

from glora_lab.figures import describe_block_grid, plot_block_grid
from glora_lab.records import BlockGrid


def grid(**changes: object) -> BlockGrid:
    """Two by two blocks of rank 3: the second of the first row has the norm 2, which is 4/7 of the energy."""
    norms = np.array([[1.0, 2.0], [1.0, 1.0]])
    fields = {
        "layer": "encoder.0.query",
        "norms": norms,
        "ranks": np.full((2, 2), 3),
        "energy": norms**2 / 7,
        "rank": 12,
        "r": 6,
        "hybrid_r": 0,
        "shape": (32, 48),
    }
    return BlockGrid(**{**fields, **changes})  # type: ignore[arg-type]


def one_block(**changes: object) -> BlockGrid:
    one = {"norms": np.ones((1, 1)), "ranks": np.full((1, 1), 4), "energy": np.ones((1, 1)), "rank": 4, "r": 4}
    return grid(**{**one, **changes})


def test_the_cells_are_the_blocks_and_say_norm_and_rank():
    figure = plot_block_grid(grid())
    (cells,) = figure.data
    assert cells.z.tolist() == [[1, 2], [1, 1]] and (cells.zmin, cells.zmax) == (0, 2)
    assert [list(row) for row in cells.text] == [["1<br>rank 3", "2<br>rank 3"], ["1<br>rank 3", "1<br>rank 3"]]
    assert cells.customdata[0, 1].tolist() == [3, pytest.approx(4 / 7)]
    assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == ("n, input block", "m, output block")
    assert figure.layout.xaxis.range == (-0.5, 1.5) and figure.layout.yaxis.range == (1.5, -0.5)  # m as in a matrix


def test_the_title_and_the_words_say_the_finding():
    title = plot_block_grid(grid()).layout.title.text
    assert title.startswith("<b>encoder.0.query</b>: 4 blocks of rank 3; ΔW has rank 12<br>")
    assert "LoRA with as many parameters has rank 6 at most" in title
    assert describe_block_grid(grid()) == (
        "Layer encoder.0.query, 32 output and 48 input channels: 4 blocks of rank 3; the largest is m 0, n 1 with 57% "
        "of the energy; ΔW has rank 12. LoRA with as many parameters has rank 6 at most."
    )
    assert "4 blocks of rank 1 to 3" in describe_block_grid(grid(ranks=np.array([[1, 3], [3, 3]])))


def test_one_block_is_not_compared_with_itself():
    assert plot_block_grid(one_block()).layout.title.text == "<b>encoder.0.query</b>: 1 block of rank 4; ΔW has rank 4"
    assert "LoRA" not in describe_block_grid(one_block()) and "largest" not in describe_block_grid(one_block())


def test_a_hybrid_is_said_in_figure_and_words():
    says = "A plain LoRA of rank 2 lies under all blocks and is counted in each"
    figure = plot_block_grid(grid(hybrid_r=2))
    assert [note.text for note in figure.layout.annotations] == [says]
    assert says in describe_block_grid(grid(hybrid_r=2)) and "has rank 8 at most" in figure.layout.title.text
    assert not plot_block_grid(grid()).layout.annotations


def test_a_fresh_layer_has_changed_nothing():
    fresh = grid(norms=np.zeros((2, 2)), ranks=np.zeros((2, 2), int), energy=np.zeros((2, 2)), rank=0)
    assert "nothing has changed yet" in plot_block_grid(fresh).layout.title.text
    assert describe_block_grid(fresh) == "Layer encoder.0.query: 4 blocks, all zero: nothing has changed yet."
    assert plot_block_grid(fresh).data[0].zmax == 1


def test_a_rank_that_was_not_asked_is_not_shown():
    large = one_block(ranks=np.full((1, 1), -1), rank=None)
    (cells,) = plot_block_grid(large).data
    assert "rank" not in cells.hovertemplate and "rank" not in cells.text[0][0]
    assert "1 block; ΔW's rank was not asked" in describe_block_grid(large)


def test_a_fine_grid_keeps_its_numbers_for_the_pointer():
    fine = grid(norms=np.ones((16, 16)), ranks=np.ones((16, 16), int), energy=np.full((16, 16), 1 / 256))
    figure = plot_block_grid(fine)
    assert figure.data[0].text is None and "%{customdata[0]}" in figure.data[0].hovertemplate
    assert figure.layout.xaxis.dtick == 2


def test_a_layers_name_is_no_markup():
    assert "&lt;i&gt;" in plot_block_grid(grid(layer="<i>")).layout.title.text


def test_a_chosen_block_is_outlined_in_black_and_white():
    figure = plot_block_grid(grid(), selected=(0, 1))
    black, white = figure.layout.shapes
    assert {(s.x0, s.x1, s.y0, s.y1) for s in (black, white)} == {(0.5, 1.5, -0.5, 0.5)}  # n across, m down
    assert (black.line.color, white.line.color) == ("#000000", "#FFFFFF") and black.line.width > white.line.width
    assert not plot_block_grid(grid()).layout.shapes
