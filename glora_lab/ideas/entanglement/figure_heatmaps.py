"""Heatmaps of gradients on one scale of powers of ten: columns of outliers marked, blocks that are off framed."""

from __future__ import annotations

from math import ceil, floor, log10

import numpy as np

from glora_lab.drawing.theme import SEQUENTIAL, TEXT, note
from glora_lab.drawing.traces import COLOR_BAR, Layout, beside, heatmap, matrix_axes, meaning, on, one_in

from .record import GradientReport

MOST_CELLS = 256  # per side; in a larger matrix a cell is the largest of several entries, and the axis says so
DECADES = 4  # what is drawn below the largest value, up to the next power of ten
TOP = (0.46, 1.0)  # where the heatmaps stand in the figure
MOST_NAMED = 3
OUTLIER_MARK, STRONGEST_MARK = "▼", "▽"


def gradient(values: np.ndarray, top: float, n: int, name: str) -> Layout:
    """Sizes as powers of ten, relative to nothing: what is below the scale is drawn as its end."""
    step = one_in(values.shape, MOST_CELLS)
    z = np.log10(np.maximum(_largest_of(np.abs(values), step), 10.0 ** lowest(top))).astype(np.float32)
    place = {"dx": step, "dy": step, "x0": (step - 1) / 2, "y0": (step - 1) / 2, **on(n + 1)}
    hover = f"o %{{y}}, i %{{x}}<br>10<sup>%{{z:.2f}}</sup>{beside(name)}"
    return heatmap(z, hover, name=name, coloraxis="coloraxis", **meaning(x="i", y="o"), **place)


def axes_of(shape: tuple[int, ...], n: int, domain: tuple[float, float]) -> Layout:
    """The axes of the n-th heatmap, beside the one before."""
    step = one_in(shape, MOST_CELLS)
    coarse = f"(largest of {step}×{step})" if step > 1 else ""
    return matrix_axes(n + 1, shape, domain, TOP, first=n == 1, says=coarse)


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
    frame = {"type": "rect", "xref": f"x{n + 1}", "yref": f"y{n + 1}", "line": {"color": color, "width": 2.5}}
    return [
        frame | {"x0": n * i - 0.5, "x1": (n + 1) * i - 0.5, "y0": m * o - 0.5, "y1": (m + 1) * o - 0.5}
        for m, n in report.contaminated(limit)
    ]


def scale(top: float) -> Layout:
    """The colours that all heatmaps share, up to `top`."""
    ticks = range(lowest(top), floor(log10(top)) + 1)
    said = ["1" if power == 0 else f"10<sup>{power}</sup>".replace("-", "−") for power in ticks]
    bar = {**COLOR_BAR, "y": sum(TOP) / 2, "len": TOP[1] - TOP[0], "tickvals": list(ticks)}
    bar |= {
        "ticktext": [f"≤ {said[0]}", *said[1:]],
        "title": {"text": "size of an entry", "side": "right", "font": {"size": 12}},
    }
    return {"colorscale": SEQUENTIAL, "cmin": lowest(top), "cmax": log10(top), "colorbar": bar}


def lowest(top: float) -> int:
    """The power of ten at which the colours begin."""
    return ceil(log10(top)) - DECADES


def _largest_of(sizes: np.ndarray, step: int) -> np.ndarray:
    """The largest of each step×step entries: thinned out, an outlier's one column would be lost."""
    if step == 1:
        return sizes
    rows = np.maximum.reduceat(sizes, np.arange(0, sizes.shape[0], step), axis=0)
    return np.maximum.reduceat(rows, np.arange(0, sizes.shape[1], step), axis=1)
