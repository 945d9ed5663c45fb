"""The grid as cells for a page: the colours and words of plot_block_grid, and names for those who cannot see them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from plotly.colors import get_colorscale, unlabel_rgb

from glora_lab.drawing.theme import SEQUENTIAL
from glora_lab.figures import block_cells, describe_block_grid, plot_block_grid
from tests.ideas.blocks.test_figure import grid, one_block


def flat(cells: dict, name: str) -> list:
    return [cell[name] for row in cells["cells"] for cell in row]


def test_words_and_names_are_those_of_the_figure():
    cells, (trace,) = block_cells(grid()), plot_block_grid(grid()).data
    assert [["<br>".join(cell["words"]) for cell in row] for row in cells["cells"]] == [list(row) for row in trace.text]
    assert cells["cells"][0][1]["name"] == "block m 0, n 1: norm 2, rank 3, 57.1% of the energy"
    assert (cells["k"], cells["layer"], cells["finding"]) == (
        2,
        "encoder.0.query",
        "4 blocks of rank 3; ΔW has rank 12",
    )
    assert cells["notes"] == ["LoRA with as many parameters has rank 6 at most"]
    assert cells["axes"] == {"m": "m, output block", "n": "n, input block"}
    assert cells["sentence"] == describe_block_grid(grid()) and json.loads(json.dumps(cells)) == cells


def test_colours_are_the_figures_scale_from_zero_to_the_largest_norm():
    scale = dict(get_colorscale(SEQUENTIAL))
    cells = block_cells(grid(norms=np.array([[0.0, 2.0], [1.0, 2.0]])))
    darkest, brightest, middle, _ = (unlabel_rgb(color) for color in flat(cells, "color"))
    ends = [tuple(int(scale[at][n : n + 2], 16) for n in (1, 3, 5)) for at in (0.0, 1.0)]
    assert [tuple(map(int, darkest)), tuple(map(int, brightest))] == ends
    assert darkest[0] < middle[0] < brightest[0]
    legend = cells["legend"]
    assert (legend["from"], legend["to"], legend["text"]) == ("0", "2", "Frobenius norm")
    assert [legend["colors"][at] for at in (0, -1)] == [flat(cells, "color")[at] for at in (0, 1)]


@pytest.mark.parametrize("norm", np.linspace(0, 1, 11))
def test_the_words_can_be_read_on_every_colour(norm):
    cell = block_cells(grid(norms=np.array([[norm, 1.0], [1.0, 1.0]])))["cells"][0][0]
    light = [luminance(unlabel_rgb(cell["color"])), luminance([255 * (cell["ink"] == "#FFFFFF")] * 3)]
    assert (max(light) + 0.05) / (min(light) + 0.05) >= 4.5  # WCAG 2, AA


def luminance(rgb) -> float:
    linear = [c / 3294.6 if c <= 10.3 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_a_hybrid_is_said_and_one_block_is_not_compared():
    assert "A plain LoRA of rank 2 lies under all blocks" in block_cells(grid(hybrid_r=2))["notes"][1]
    assert block_cells(one_block())["notes"] == []


def test_a_fine_grid_and_an_unasked_rank_write_less():
    fine = grid(norms=np.ones((16, 16)), ranks=np.ones((16, 16), int), energy=np.full((16, 16), 1 / 256))
    assert set(map(tuple, flat(block_cells(fine), "words"))) == {()}
    (cell,) = block_cells(one_block(ranks=np.full((1, 1), -1), rank=None))["cells"][0]
    assert cell["words"] == ["1"] and "rank" not in cell["name"]


def test_a_fresh_grid_is_dark_throughout():
    fresh = grid(norms=np.zeros((2, 2)), ranks=np.zeros((2, 2), int), energy=np.zeros((2, 2)), rank=0)
    cells = block_cells(fresh)
    assert set(flat(cells, "color")) == {cells["legend"]["colors"][0]} and "nothing has changed" in cells["finding"]
