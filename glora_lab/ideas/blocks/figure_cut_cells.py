"""The cut as plain data for a picture in the page that moves and can be clicked: the same colours and words as
`draw_block_cut` draws, worked out here so that the page only has to lay them out.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from glora_lab.drawing.checked import checked
from glora_lab.drawing.theme import METHOD_COLORS

from .figure_block_cut import A_SIDE, B_SIDE, LEGEND, facts, finding, hybrid, in_words, share_of
from .figure_cut_colors import CutColors
from .record import BlockCut, BlockGrid, RankAtK


@checked
def cut_cells(cut: BlockCut, ranks: Sequence[RankAtK]) -> dict[str, Any]:
    """The picture of a cut as plain data that a page can lay out, move and click.

    Args:
        cut: what `block_cut` returns.
        ranks: what `rank_by_k` returns.

    Returns:
        A dict that JSON can hold, with numbers of colours of B, A and ΔW, words and names of the blocks [m][n], and the
        ranks over k.
    """
    grid, colors = cut.grid, CutColors(cut.grid.k)
    known = {row.k: row.rank for row in ranks} | {grid.k: grid.rank or 0}
    return {
        "k": grid.k,
        "finding": finding(cut),
        "notes": [facts(cut), *filter(None, [hybrid(cut)])],
        "sentence": in_words(cut, ranks),
        "axes": {"m": B_SIDE, "n": A_SIDE},
        "legend": LEGEND,
        "share": share_of(cut),
        "palette": colors.palette,
        "colors": {"m": colors.m, "n": colors.n},
        "B": _packed(colors.of_b(cut.B)),
        "A": _packed(colors.of_a(cut.A)),
        "delta": _packed(colors.of_delta(cut.delta)),
        "names": [[_name(grid, m, n) for n in range(grid.k)] for m in range(grid.k)],
        "rank": grid.rank or 0,
        "full": min(grid.shape),
        "method": METHOD_COLORS["LoRA" if grid.k == 1 else "GraLoRA"],
        "ranks": [{"k": k, "rank": known[k]} for k in sorted(known)],
    }


def _packed(numbers: np.ndarray) -> dict[str, Any]:
    """Bytes in rows, as text."""
    return {"rows": len(numbers), "columns": numbers.shape[1], "bytes": base64.b64encode(numbers.tobytes()).decode()}


def _name(grid: BlockGrid, m: int, n: int) -> str:
    said = f"norm {grid.norms[m, n]:.3g}, rank {grid.ranks[m, n]}, {grid.energy[m, n]:.1%} of the energy"
    return f"block m {m}, n {n}: {said}"
