"""Heatmaps of gradients on one scale of powers of ten: columns of outliers marked, blocks that are off framed."""

from __future__ import annotations

from typing import Any

import numpy as np

from glora_lab.drawing.theme import IN_AXIS, OUT_AXIS, SEQUENTIAL, TEXT, note, plain

from .record import GradientReport

MOST_CELLS = 256  # per side; in a larger matrix a cell is the largest of several entries, and the axis says so
DECADES = 4  # what is drawn below the largest value
TOP = (0.46, 1.0)  # where the heatmaps stand in the figure
MOST_NAMED = 3
OUTLIER_MARK, STRONGEST_MARK = "▼", "▽"
Layout = dict[str, Any]


def heatmap(values: np.ndarray, top: float, n: int, name: str) -> Layout:
    """Sizes as powers of ten, relative to nothing: what is below the scale is drawn as its end."""
    step = _step(values.shape)
    sizes = _largest_of(np.abs(values), step)
    return {
        "type": "heatmap",
        "z": np.log10(np.maximum(sizes, top / 10**DECADES)).astype(np.float32),
        "dx": step,
        "dy": step,
        "x0": (step - 1) / 2,
        "y0": (step - 1) / 2,
        "name": name,
        "coloraxis": "coloraxis",
        "xaxis": f"x{n + 1}",
        "yaxis": f"y{n + 1}",
        "hovertemplate": "o %{y}, i %{x}<br>10^%{z:.2f}<extra>" + plain(name) + "</extra>",
    }


def axes_of(shape: tuple[int, ...], n: int, domain: tuple[float, float]) -> Layout:
    """The axes of the n-th heatmap, beside the one before."""
    step = _step(shape)
    coarse = f" (largest of {step}×{step})" if step > 1 else ""
    box = {"showline": True, "mirror": True, "showgrid": False, "zeroline": False, "ticks": ""}
    x = {"domain": domain, "anchor": f"y{n + 1}", "title": {"text": IN_AXIS + coarse}, **box}
    y = {"domain": TOP, "anchor": f"x{n + 1}", "showticklabels": n == 1, **box}
    x["range"], y["range"] = (-0.5, shape[1] - 0.5), (shape[0] - 0.5, -0.5)  # o counts downwards, as a matrix
    if n == 1:
        y["title"] = {"text": OUT_AXIS}
    return {f"xaxis{n + 1}": x, f"yaxis{n + 1}": y}


def marks(report: GradientReport, n: int) -> list[Layout]:
    """A triangle above the column of each of the strongest outliers; where there is none, a hollow one above the
    strongest channel."""
    columns = report.outliers[:MOST_NAMED] or [i for i, _ in report.strongest()]
    mark = OUTLIER_MARK if report.outliers else STRONGEST_MARK
    return [note(i, TOP[1], mark, TEXT, size=11) | {"xref": f"x{n + 1}"} for i in columns]


def outlines(report: GradientReport, n: int, color: str, limit: float) -> list[Layout]:
    """A frame around each block that deviates."""
    k = len(report.block_deviation)
    o, i = (size / k for size in report.full.shape)
    return [
        {
            "type": "rect",
            "xref": f"x{n + 1}",
            "yref": f"y{n + 1}",
            **{"x0": col * i - 0.5, "x1": (col + 1) * i - 0.5, "y0": row * o - 0.5, "y1": (row + 1) * o - 0.5},
            "line": {"color": color, "width": 2.5},
        }
        for row, col in report.contaminated(limit)
    ]


def scale(top: float) -> Layout:
    """The colours that all heatmaps share, up to `top`."""
    high = float(np.log10(top))
    ticks = [high - decade for decade in range(DECADES, -1, -1)]
    bar = {
        "thickness": 10,
        "outlinewidth": 0,
        "y": sum(TOP) / 2,
        "len": TOP[1] - TOP[0],
        "tickvals": ticks,
        "ticktext": [f"≤ {10 ** ticks[0]:.1g}", *(f"{10**tick:.1g}" for tick in ticks[1:])],
    }
    return {"colorscale": SEQUENTIAL, "cmin": high - DECADES, "cmax": high, "colorbar": bar}


def _step(shape: tuple[int, ...]) -> int:
    return -(-max(shape) // MOST_CELLS)


def _largest_of(sizes: np.ndarray, step: int) -> np.ndarray:
    """The largest of each step×step entries: thinned out, an outlier's one column would be lost."""
    if step == 1:
        return sizes
    rows = np.maximum.reduceat(sizes, np.arange(0, sizes.shape[0], step), axis=0)
    return np.maximum.reduceat(rows, np.arange(0, sizes.shape[1], step), axis=1)
