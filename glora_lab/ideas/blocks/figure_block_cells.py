"""The block grid as plain data for a heatmap of HTML cells, which can be clicked: the same colours and words as
`draw_block_grid` draws, worked out here so that the page only has to lay them out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from plotly.colors import sample_colorscale, unlabel_rgb

from glora_lab.drawing.theme import SEQUENTIAL

from .figure import (
    IN_BLOCKS,
    LEGEND,
    MOST_WRITTEN,
    OUT_BLOCKS,
    beside,
    finding,
    hybrid,
    in_words,
    largest_norm,
    words_in_cell,
)
from .record import BlockGrid

LEGEND_COLORS = 11
DARK, BRIGHT = "#000000", "#FFFFFF"


def block_cells(grid: BlockGrid) -> dict[str, Any]:
    """Colours, words and names of the cells [m][n], the title's parts, the axes' names and the legend; JSON alone."""
    largest = largest_norm(grid)
    colors = _sampled(grid.norms.ravel() / largest)
    legend = {"text": LEGEND, "from": "0", "to": f"{largest:.2g}", "colors": _sampled(np.linspace(0, 1, LEGEND_COLORS))}
    return {
        "k": grid.k,
        "layer": grid.layer,
        "finding": finding(grid),
        "sentence": in_words(grid),
        "notes": ([beside(grid)] if grid.k > 1 else []) + ([hybrid(grid)] if grid.hybrid_r else []),
        "axes": {"m": OUT_BLOCKS, "n": IN_BLOCKS},
        "legend": legend,
        "cells": [[_cell(grid, m, n, colors[m * grid.k + n]) for n in range(grid.k)] for m in range(grid.k)],
    }


def _cell(grid: BlockGrid, m: int, n: int, color: str) -> dict[str, Any]:
    norm, rank = float(grid.norms[m, n]), int(grid.ranks[m, n])
    said = [f"norm {norm:.3g}", *([f"rank {rank}"] if rank >= 0 else []), f"{grid.energy[m, n]:.1%} of the energy"]
    return {
        "color": color,
        "ink": _ink(color),
        "words": words_in_cell(norm, rank) if grid.k <= MOST_WRITTEN else [],
        "name": f"block m {m}, n {n}: {', '.join(said)}",
    }


def _sampled(shares: np.ndarray) -> list[str]:
    return sample_colorscale(SEQUENTIAL, [float(share) for share in shares])


def _ink(color: str) -> str:
    """Black or white, whichever has the larger contrast (WCAG 2: relative luminance 0.179 is the middle)."""
    channels = np.asarray(unlabel_rgb(color)) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return DARK if float(linear @ [0.2126, 0.7152, 0.0722]) > 0.179 else BRIGHT
