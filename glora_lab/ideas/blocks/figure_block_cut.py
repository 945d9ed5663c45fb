"""LoRA's two factors cut into k×k pairs: B's pieces at the left of their blocks, A's above, and the rank beside.

The pieces of all blocks cover as much of the picture at every k, as they are the same parameters. All of it is one
raster of colour numbers: B, A and ΔW are one matrix each, and k decides where their pieces lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from glora_lab.drawing.picture import Picture, draw, draws
from glora_lab.drawing.theme import FROZEN, METHOD_COLORS, ending, note, number, plain, small
from glora_lab.drawing.traces import Layout, bars, on

from .figure_cut_colors import CutColors
from .record import BlockCut, RankAtK

OUT_BLOCKS, IN_BLOCKS = "m, output block", "n, input block"
B_SIDE, A_SIDE = f"B in bands of {OUT_BLOCKS}", f"A in bands of {IN_BLOCKS}"
LEGEND = "A block is the B at its left times the A above it: above zero in B's colour, below in A's."
SIDE = 240  # cells of the raster that k divides as far as it goes
LEAST, MOST = 0.14, 0.3  # of a block's side, the width of its factors: r/in where it is within
OTHER = FROZEN  # another k than the one that is shown
HOVER = "k %{x}: rank %{y}<extra></extra>"
GAP = 3  # cells between blocks


@draws(BlockCut)
def draw_block_cut(cut: BlockCut, ranks: Sequence[RankAtK] = (), selected: tuple[int, int] | None = None) -> Picture:
    """The pieces of B and A around the blocks that they make, and the rank of ΔW at each k.

    In words: how the factors are cut, the rank of ΔW beside LoRA's, the parameters, and the ranks at other k.

    Args:
        cut: what `block_cut` returns.
        ranks: what the rank of ΔW is at other k; the cut's own alone by default.
        selected: a block (m, n) to outline.
    """
    image = raster(cut)
    colors = CutColors(cut.grid.k).palette
    scale = [[at / (len(colors) - 1), color] for at, color in enumerate(colors)]
    cells: Layout = {"type": "heatmap", "z": image, "colorscale": scale, "zmin": 0, "zmax": len(colors) - 1}
    cells |= {"showscale": False, "hoverinfo": "skip", "name": "blocks"}
    return draw(
        [cells, *_bars(cut, ranks)],
        f"{finding(cut)}<br>{small(plain(facts(cut)), 12)}",
        in_words(cut, ranks),
        height=460,
        showlegend=False,
        notes=[note(0.0, -0.17, LEGEND, anchor=("left", "top"), size=12)],
        margin={"t": 70, "b": 78},
        shapes=_outline(cut, selected) if selected else [],
        **_axes(cut, image.shape[0]),
    )


def finding(cut: BlockCut) -> str:
    """What the title says."""
    grid = cut.grid
    pairs = f"{grid.k}×{grid.k} pairs of rank {grid.r // grid.k}" if grid.k > 1 else f"One pair of rank {grid.r}"
    if not grid.norms.any():
        return f"{pairs}: ΔW is zero, nothing has changed yet"
    return f"{pairs}: ΔW has rank {grid.rank}"


def facts(cut: BlockCut) -> str:
    """What stands below the finding: the layer, and what k does not change."""
    out, into = cut.grid.shape
    lora = f"; LoRA's rank is {cut.grid.r + cut.grid.hybrid_r}" if cut.grid.k > 1 else ", and this is LoRA"
    return f"{ending(cut.grid.layer, 30)}, {out}×{into}: {number(cut.params)} parameters at every k{lora}"


def hybrid(cut: BlockCut) -> str:
    """What a hybrid has besides; "" where it is none."""
    return f"a plain LoRA of rank {cut.grid.hybrid_r} lies under all blocks" if cut.grid.hybrid_r else ""


def in_words(cut: BlockCut, ranks: Sequence[RankAtK] = ()) -> str:
    """The picture in words."""
    grid, (out, into) = cut.grid, cut.grid.shape
    does = f"are cut into {grid.k}×{grid.k} pairs" if grid.k > 1 else "are one pair, as LoRA has them"
    under = f", and {hybrid(cut)}" if grid.hybrid_r else ""
    others = ", ".join(f"{row.rank} at k {row.k}" for row in ranks)
    over = f" With random values the rank is {others}." if ranks else ""
    lora = f", LoRA's {grid.r + grid.hybrid_r}" if grid.k > 1 else ""
    return (
        f"Layer {grid.layer}: B ({out}×{grid.r}) and A ({grid.r}×{into}) {does}{under}. {finding(cut)}{lora}, with "
        f"{cut.params:,} parameters at every k.{over}"
    )


def share_of(cut: BlockCut) -> float:
    """The width of the factors, of a block's side."""
    return min(max(cut.grid.r / cut.grid.shape[1], LEAST), MOST)


def raster(cut: BlockCut) -> np.ndarray:
    """All pieces where they lie, as numbers of `CutColors`' palette; nan between them."""
    k, colors = cut.grid.k, CutColors(cut.grid.k)
    side = max(SIDE // k, 6)
    thin = max(1, round(share_of(cut) * side))
    image = np.full((k * (side + GAP) - GAP,) * 2, np.nan, np.float32)
    b, a, delta = colors.of_b(cut.B), colors.of_a(cut.A), colors.of_delta(cut.delta)
    for m in range(k):
        for n in range(k):
            y, x = m * (side + GAP), n * (side + GAP)
            rest = slice(thin + 1, side)  # a cell apart
            long = side - thin - 1
            block = image[y : y + side, x : x + side]
            block[rest, :thin] = _resized(_piece(b, m, n, k), long, thin)
            block[:thin, rest] = _resized(_piece(a, m, n, k), thin, long)
            block[rest, rest] = _resized(_piece(delta, m, n, k), long, long)
    return image


def _piece(matrix: np.ndarray, m: int, n: int, k: int) -> np.ndarray:
    rows, columns = (size // k for size in matrix.shape)
    return matrix[m * rows : (m + 1) * rows, n * columns : (n + 1) * columns]


def _resized(matrix: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """The nearest of its values, in so many rows and columns."""
    down, across = (np.arange(to) * size // to for to, size in zip((rows, columns), matrix.shape, strict=True))
    return matrix[np.ix_(down, across)]


def _bars(cut: BlockCut, ranks: Sequence[RankAtK]) -> list[Layout]:
    """The rank at each k, and over them this layer's own in its method's colour."""
    grid = cut.grid
    known = {row.k: row.rank for row in ranks} | {grid.k: grid.rank or 0}
    every = sorted(known)
    color = METHOD_COLORS["LoRA" if grid.k == 1 else "GraLoRA"]
    look: Layout = {"width": min(0.8, 0.2 * len(every)), "text": [str(known[k]) for k in every], "name": "rank of ΔW"}
    colors = [color if k == grid.k else OTHER for k in every]
    return [bars(list(map(str, every)), [known[k] for k in every], colors, HOVER, **look, **on(2))]


def _axes(cut: BlockCut, size: int) -> Layout:
    """A square for the blocks, their numbers at its sides, and the bars at its right."""
    k, full = cut.grid.k, min(cut.grid.shape)
    middles = [(block + 0.5) * (size + GAP) / k - 0.5 - GAP / 2 for block in range(k)]
    every = max(1, k // 8)
    ticks = {"tickvals": middles[::every], "ticktext": [str(block) for block in range(k)][::every]}
    bare = {"showgrid": False, "zeroline": False, "ticks": "", "showline": False, **ticks}
    return {
        "xaxis": {"domain": (0, 0.58), "range": (-0.5, size - 0.5), "title": A_SIDE, "constrain": "domain", **bare},
        "yaxis": {"range": (size - 0.5, -0.5), "title": B_SIDE, "scaleanchor": "x", **bare},
        "xaxis2": {"domain": (0.7, 1), "anchor": "y2", "type": "category", "title": "k", "showgrid": False},
        "yaxis2": {"anchor": "x2", "title": "rank of ΔW", "range": (0, 1.12 * full), "linecolor": FROZEN},
    }


def _outline(cut: BlockCut, selected: tuple[int, int]) -> list[dict[str, Any]]:
    """White within black, so that it shows on every colour."""
    step = max(SIDE // cut.grid.k, 6) + GAP
    (y, x), side = (block * step for block in selected), step - GAP
    place = {"type": "rect", "x0": x - 0.5, "x1": x + side - 0.5, "y0": y - 0.5, "y1": y + side - 0.5, "layer": "above"}
    return [{**place, "line": {"color": color, "width": width}} for color, width in (("#000000", 6), ("#FFFFFF", 3))]
