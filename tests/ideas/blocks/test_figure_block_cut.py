"""The cut drawn: pieces where k puts them, in their bands' colours, the rank at each k, and the finding in words."""

from __future__ import annotations

import json

import numpy as np
import pytest

from glora_lab.drawing.theme import METHOD_COLORS
from glora_lab.figures import cut_cells, describe_block_cut, plot_block_cut
from glora_lab.ideas.blocks.figure_block_cut import GAP, SIDE, raster
from glora_lab.ideas.blocks.figure_cut_colors import PALE, SHADES, CutColors
from glora_lab.records import BlockCut, BlockGrid, RankAtK
from tests.drawing.test_theme import DARK, LIGHT, contrast

RANKS = [RankAtK(1, 4, 64), RankAtK(2, 8, 64), RankAtK(4, 8, 64)]


def cut(k: int = 2, **changes: object) -> BlockCut:
    """A layer of 8×8 at rank 4. B is 1 in its first row and −2 elsewhere, A is 3, ΔW rises from −4 to 4 across."""
    ones = np.ones((k, k))
    grid = {"layer": "up", "norms": ones, "ranks": ones.astype(int), "energy": ones / k**2, "rank": 4 * k, "r": 4}
    whole = BlockGrid(**{**grid, "hybrid_r": 0, "shape": (8, 8), **changes})  # type: ignore[arg-type]
    b = np.full((8, 4), -2.0)
    b[0] = 1.0
    return BlockCut(whole, b, np.full((4, 8), 3.0), np.tile(np.linspace(-4, 4, 8), (8, 1)), 64)


def zero() -> BlockCut:
    fresh = cut(norms=np.zeros((2, 2)), rank=0)
    return BlockCut(fresh.grid, np.zeros((8, 4)), fresh.A, np.zeros((8, 8)), 64)


def bands(numbers: np.ndarray) -> np.ndarray:
    """Which colour each number is of: B's bands first, then A's."""
    return (numbers.astype(int) - 1) // SHADES


def test_a_factor_has_the_colours_of_its_bands_and_a_block_those_of_both() -> None:
    colors, made = CutColors(2), cut()
    assert bands(colors.of_b(made.B))[:, 0].tolist() == [0] * 4 + [1] * 4
    assert bands(colors.of_a(made.A))[0].tolist() == [2] * 4 + [3] * 4
    delta = bands(colors.of_delta(made.delta))
    assert (
        delta[0].tolist() == [2] * 4 + [0] * 4 and delta[7].tolist() == [2] * 4 + [1] * 4
    )  # below zero A's, above B's
    shades = colors.of_b(made.B)[:, 0] % SHADES
    assert shades[0] != shades[1] == shades[3]  # the larger the darker
    assert not colors.of_delta(np.zeros((8, 8))).any() and colors.palette[0] == PALE


@pytest.mark.parametrize("k", [1, 2, 4, 8, 16])
def test_the_bands_can_be_seen_on_both_pages(k: int) -> None:
    colors = CutColors(k)
    assert len(set(colors.m)) == len(set(colors.n)) == k and not set(colors.m) & set(colors.n)
    assert min(contrast(color, page) for color in colors.m + colors.n for page in (LIGHT, DARK)) >= 3


def test_a_palette_fits_a_byte_for_any_k() -> None:
    fine = CutColors(64)
    numbers = fine.of_b(np.ones((64, 1)))
    assert len(fine.palette) <= 256 and numbers.max() < len(fine.palette) and len(fine.m) == 64


@pytest.mark.parametrize("k", [1, 2, 4])
def test_the_pieces_lie_at_the_left_of_their_block_and_above_it(k: int) -> None:
    image = raster(cut(k))
    step = SIDE // k + GAP
    assert image.shape == (k * step - GAP,) * 2
    for m in range(k):
        for n in range(k):
            block = image[m * step : m * step + SIDE // k, n * step : n * step + SIDE // k]
            assert np.isnan(block[0, 0])  # neither factor is in the corner
            assert {*np.unique(bands(block[block.shape[0] // 2 :, 0]))} == {m}
            assert {*np.unique(bands(block[0, block.shape[1] // 2 :]))} == {k + n}


def test_the_rank_stands_at_each_k_and_this_ones_in_its_colour() -> None:
    cells, bars = plot_block_cut(cut(), RANKS).data
    assert (list(bars.x), list(bars.y)) == (["1", "2", "4"], [4, 8, 8])
    assert bars.marker.color[1] == METHOD_COLORS["GraLoRA"] and bars.marker.color[0] == bars.marker.color[2]
    assert min(contrast(color, page) for color in bars.marker.color for page in (LIGHT, DARK)) >= 3
    assert plot_block_cut(cut(1), RANKS).data[1].marker.color[0] == METHOD_COLORS["LoRA"]
    assert cells.zmax == len(cells.colorscale) - 1 and len(plot_block_cut(cut()).data[1].x) == 1


def test_the_title_is_the_finding_and_fits_a_narrow_page() -> None:
    title = plot_block_cut(cut(layer="a.very.long.name.of.a.layer.that.goes.on"), RANKS).layout.title.text
    assert title.startswith("2×2 pairs of rank 2: ΔW has rank 8<br>") and "64 parameters at every k" in title
    assert "LoRA's rank is 4" in title and "a.very" not in title
    assert "<i>" not in plot_block_cut(cut(layer="<i>")).layout.title.text
    assert "ΔW is zero, nothing has changed yet" in plot_block_cut(zero()).layout.title.text


def test_in_words() -> None:
    assert describe_block_cut(cut(), RANKS) == (
        "Layer up: B (8×4) and A (4×8) are cut into 2×2 pairs. 2×2 pairs of rank 2: ΔW has rank 8, LoRA's 4, with 64 "
        "parameters at every k. With random values the rank is 4 at k 1, 8 at k 2, 8 at k 4."
    )
    assert "are one pair, as LoRA has them. One pair of rank 4" in describe_block_cut(cut(1))
    assert "and a plain LoRA of rank 2 lies under all blocks" in describe_block_cut(cut(hybrid_r=2))


def test_a_chosen_block_is_outlined_in_black_and_white() -> None:
    black, white = plot_block_cut(cut(), (), (1, 0)).layout.shapes
    assert (black.x0, black.y0, black.x1 - black.x0) == (-0.5, SIDE // 2 + GAP - 0.5, SIDE // 2)
    assert (black.line.color, white.line.color) == ("#000000", "#FFFFFF") and not plot_block_cut(cut()).layout.shapes


def test_the_page_gets_the_same_numbers_and_words() -> None:
    page = cut_cells(cut(hybrid_r=2), RANKS)
    assert json.loads(json.dumps(page)) == page and page["sentence"] == describe_block_cut(cut(hybrid_r=2), RANKS)
    assert page["finding"] == plot_block_cut(cut()).layout.title.text.split("<br>")[0]
    assert (
        page["notes"][1] == "a plain LoRA of rank 2 lies under all blocks" and page["palette"] == CutColors(2).palette
    )
    assert (page["B"]["rows"], page["B"]["columns"], page["A"]["columns"]) == (8, 4, 8)
    assert page["names"][0][1] == "block m 0, n 1: norm 1, rank 1, 25.0% of the energy"
    assert [row["rank"] for row in page["ranks"]] == [4, 8, 8] and (page["rank"], page["full"]) == (8, 8)
    assert cut_cells(zero(), RANKS)["ranks"][1]["rank"] == 0  # this layer's own, whatever random values have
