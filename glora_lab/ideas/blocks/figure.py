"""ΔW as a grid of blocks: one cell a block, its norm as the colour, norm and rank written in it."""

from __future__ import annotations

from typing import Any

import numpy as np

from glora_lab.drawing.picture import Picture, draw, draws
from glora_lab.drawing.theme import note, plain, small
from glora_lab.drawing.traces import cells

from .record import BlockGrid

OUT_BLOCKS = "m, output block"
IN_BLOCKS = "n, input block"
LEGEND = "Frobenius norm"
MOST_WRITTEN = 8  # blocks per side; in a finer grid only pointing at a block tells its numbers
SIDE = 380  # pixels


@draws(BlockGrid)
def draw_block_grid(grid: BlockGrid, selected: tuple[int, int] | None = None) -> Picture:
    """The k×k blocks of ΔW, m downwards and n to the right, as they lie in the (out, in) matrix, coloured by norm.

    In words: how many blocks of what rank, the largest with its share of the energy, the rank of ΔW, and what LoRA with
    as many parameters would have.

    Args:
        grid: what `block_grid` returns.
        selected: a block (m, n) to outline.
    """
    look: dict[str, Any] = {"customdata": np.stack([grid.ranks, grid.energy], axis=-1)}
    look |= {"text": _lines_in_cells(grid), "texttemplate": "%{text}"} if grid.k <= MOST_WRITTEN else {}
    bar = {"title": {"text": LEGEND, "side": "right"}}
    below = [note(0.0, -0.19, _hybrid(grid), anchor=("left", "top"), size=12)] if grid.hybrid_r else []
    return draw(
        [cells(grid.norms.astype(np.float32), _largest_norm(grid), _hover(grid), bar=bar, **look)],
        _title(grid),
        _in_words(grid),
        height=SIDE + 120,
        width=SIDE + 220,
        notes=below,
        shapes=[] if selected is None else _outline(*selected),
        margin={"t": 76, "b": 84 if below else 52},
        **block_axes(grid.k),
    )


def _in_words(grid: BlockGrid) -> str:
    """The figure in words."""
    m, n = np.unravel_index(int(grid.norms.argmax()), grid.norms.shape)
    if not grid.norms.any():
        return f"Layer {grid.layer}: {_blocks(grid)}, all zero: nothing has changed yet."
    largest = f"the largest is m {m}, n {n} with {grid.energy[m, n]:.0%} of the energy; " if grid.k > 1 else ""
    under = f" {_hybrid(grid)}." if grid.hybrid_r else ""
    compared = f" {_beside(grid)}." if grid.k > 1 else ""
    return f"Layer {grid.layer}, {_shape(grid)}: {_blocks(grid)}; {largest}{_whole(grid)}.{compared}{under}"


def _title(grid: BlockGrid) -> str:
    return f"<b>{plain(grid.layer)}</b>: {_finding(grid)}{f'<br>{small(_beside(grid), 12)}' if grid.k > 1 else ''}"


def _finding(grid: BlockGrid) -> str:
    """What the title says of the layer."""
    return f"{_blocks(grid)}; {_whole(grid)}" if grid.norms.any() else "ΔW is zero, nothing has changed yet"


def _blocks(grid: BlockGrid) -> str:
    """ "16 blocks of rank 2", "1 block of rank 4", "4 blocks of rank 1 to 3"."""
    counted = f"{grid.k**2} block{'s' if grid.k > 1 else ''}"
    low, high = int(grid.ranks.min()), int(grid.ranks.max())
    if low < 0 or not high:
        return counted
    return f"{counted} of rank {low}" if low == high else f"{counted} of rank {low} to {high}"


def _whole(grid: BlockGrid) -> str:
    return "ΔW's rank was not asked, the layer is too large" if grid.rank is None else f"ΔW has rank {grid.rank}"


def _beside(grid: BlockGrid) -> str:
    """What the grid is compared with."""
    return f"LoRA with as many parameters has rank {grid.r + grid.hybrid_r} at most"


def _hybrid(grid: BlockGrid) -> str:
    """What lies under all blocks."""
    return f"A plain LoRA of rank {grid.hybrid_r} lies under all blocks and is counted in each"


def _shape(grid: BlockGrid) -> str:
    out, into = grid.shape
    return f"{out} output and {into} input channels"


def _largest_norm(grid: BlockGrid) -> float:
    """Where the scale of colours ends; 1 where all norms are zero."""
    return float(grid.norms.max()) or 1.0


def _words_in_cell(norm: float, rank: int) -> list[str]:
    """A cell's lines: its norm, and its rank where that was asked."""
    return [f"{norm:.2g}", *([f"rank {rank}"] if rank >= 0 else [])]


def _lines_in_cells(grid: BlockGrid) -> list[list[str]]:
    rows = zip(grid.norms, grid.ranks, strict=True)
    return [["<br>".join(_words_in_cell(*cell)) for cell in zip(*row, strict=True)] for row in rows]


def _outline(m: int, n: int) -> list[dict[str, Any]]:
    """White within black, so that it shows on the darkest cell and on the brightest."""
    place = {"type": "rect", "x0": n - 0.5, "x1": n + 0.5, "y0": m - 0.5, "y1": m + 0.5, "layer": "above"}
    return [{**place, "line": {"color": color, "width": width}} for color, width in (("#000000", 6), ("#FFFFFF", 3))]


def _hover(grid: BlockGrid) -> str:
    rank = "<br>rank %{customdata[0]}" if grid.ranks.min() >= 0 else ""
    return "m %{y}, n %{x}<br>norm %{z:.4g}" + rank + "<br>%{customdata[1]:.1%} of the energy<extra></extra>"


def block_axes(k: int, axis: str = "") -> dict[str, Any]:
    """Axes for a grid of blocks, m downwards; `axis` is their number, where they are not the first."""
    whole = {"showgrid": False, "zeroline": False, "ticks": "", "dtick": max(1, k // 8), "tick0": 0}
    across = {"title": IN_BLOCKS, "anchor": f"y{axis}", "range": (-0.5, k - 0.5), **whole}
    down = {"title": OUT_BLOCKS, "anchor": f"x{axis}", "range": (k - 0.5, -0.5), **whole}
    return {f"xaxis{axis}": across, f"yaxis{axis}": down}
