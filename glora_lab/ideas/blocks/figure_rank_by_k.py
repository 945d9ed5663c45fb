"""The rank of the whole ΔW over k, the blocks per side: the same parameters, up to k times the rank."""

from __future__ import annotations

from collections.abc import Sequence

from glora_lab.arguments import refuse
from glora_lab.drawing.picture import Picture, draw, draws
from glora_lab.drawing.theme import METHOD_COLORS, RIGHT, number, small
from glora_lab.drawing.traces import Layout, bars

from .record import BlockGrid, RankAtK


@draws(RankAtK)
def draw_rank_by_k(rows: Sequence[RankAtK], grid: BlockGrid | None = None) -> Picture:
    """Bars of the rank of ΔW at each k; a line where the layer of `grid` is.

    In words: the rank at each k, the parameters, and where the layer is.

    Args:
        rows: what `rank_by_k` returns.
        grid: of the layer as it is now, as `block_grid` returns it.
    """
    if not rows:
        raise refuse("rows", rows, "must be what rank_by_k gives: one row at least")
    ks, ranks = [str(row.k) for row in rows], [row.rank for row in rows]
    colors = [METHOD_COLORS["LoRA" if row.k == 1 else "GraLoRA"] for row in rows]
    widths = [min(0.8, 0.2 * len(rows))] * len(rows)
    look: Layout = {"text": list(map(str, ranks)), "width": widths, "name": "random values"}
    known = grid is not None and grid.rank is not None
    here = {
        "type": "scatter",
        "mode": "markers",
        "x": [str(grid.k)] if grid and known else [],
        "y": [grid.rank] if grid and known else [],
        "marker": {"symbol": "line-ew", "size": 44, "line": {"color": RIGHT, "width": 5}},
        "name": "the layer that is shown",
        "hovertemplate": "the layer that is shown: rank %{y}<extra></extra>",
    }
    return draw(
        [bars(ks, ranks, colors, "k %{x}: rank %{y}<extra></extra>", **look), here],
        f"Rank of ΔW over k: {' / '.join(map(str, ranks))}<br>{small(_params(rows), 12)}",
        _in_words(rows, grid),
        height=400,
        legend={"y": 1.06},
        margin={"t": 104, "b": 48},
        xaxis={"type": "category", "title": "k, blocks per side", "showgrid": False},
        yaxis={"title": "rank of ΔW", "rangemode": "tozero"},
    )


def _in_words(rows: Sequence[RankAtK], grid: BlockGrid | None) -> str:
    """The figure in words."""
    pairs = ", ".join(f"{row.rank} at k {row.k}" for row in rows)
    here = f" The layer that is shown has rank {grid.rank} at k {grid.k}." if grid and grid.rank is not None else ""
    return f"With random values the rank of ΔW is {pairs}. {_params(rows)}.{here}"


def _params(rows: Sequence[RankAtK]) -> str:
    counts = sorted({row.params for row in rows})
    if len(counts) == 1:
        return f"{number(counts[0])} parameters{' at every k' if len(rows) > 1 else ''}"
    return f"{number(counts[0])} to {number(counts[-1])} parameters"
