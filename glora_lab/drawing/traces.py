"""What several figures draw alike: heatmaps, bars and lines as plotly's plain data, and the axes of a matrix."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

import numpy as np

from .theme import IN_AXIS, OUT_AXIS, SEQUENTIAL, plain

Layout = dict[str, Any]

BOX: Layout = {"showline": True, "mirror": True, "showgrid": False, "zeroline": False, "ticks": ""}
NAMES: Layout = {"type": "category", "showgrid": False, "tickcolor": "rgba(0, 0, 0, 0)"}  # a tick's length off the axis
COLOR_BAR: Layout = {"thickness": 10, "outlinewidth": 0}
SIDEWAYS: Layout = {"orientation": "h", "textangle": 0}


def on(n: int) -> Layout:
    """The pair of axes that a trace lies on."""
    return {"xaxis": f"x{n}", "yaxis": f"y{n}"}


def meaning(path: str = "", **axes: str) -> Layout:
    """What a trace is about, for the page to light up what belongs together: its path, and for "x" and "y" the letter
    of the channels that lie along them, `meaning("A", x="i", y="o")`."""
    return {"meta": {**({"path": path} if path else {}), **axes}}


def heatmap(z: Any, hover: str, **more: Any) -> Layout:
    return {"type": "heatmap", "z": z, "hovertemplate": hover, **more}


def cells(z: Any, largest: float, hover: str, *, bar: Layout, gap: int = 2, **more: Any) -> Layout:
    """A heatmap of sizes, from dark for none to bright for the largest, its cells apart."""
    look = {"zmin": 0, "zmax": largest or 1.0, "colorscale": SEQUENTIAL, "xgap": gap, "ygap": gap}
    return heatmap(z, hover, **look, colorbar={**COLOR_BAR, **bar}, **more)


def bars(x: Any, y: Any, color: Any, hover: str, *, marker: Layout | None = None, **more: Any) -> Layout:
    """Bars; what is written at their ends may stand beyond the plot."""
    whole = {"x": x, "y": y, "textposition": "outside", "cliponaxis": False, "hovertemplate": hover}
    return {"type": "bar", **whole, "marker": {"color": color, **(marker or {})}, **more}


def line(x: Any, y: Any, name: str, color: str, hover: str, *, dash: str = "", width: float = 2, **more: Any) -> Layout:
    whole = {"x": x, "y": y, "mode": "lines", "name": plain(name), "hovertemplate": hover}
    look = {"color": color, "width": width, **({"dash": dash} if dash else {})}
    return {"type": "scatter", **whole, "line": look, **more}


def beside(name: str) -> str:
    """What pointing at a trace tells beside the numbers: its name."""
    return f"<extra>{plain(name)}</extra>"


def marked(values: Sized, most: int) -> Layout:
    """Few values have a mark each."""
    return {"mode": "lines+markers" if len(values) <= most else "lines"}


def side_by_side(x: str, left: Layout, right: Layout, **across: Any) -> Layout:
    """Axes of two plots over the same quantity."""
    both = {"title": x, **across}
    return {
        "xaxis": {"domain": (0, 0.46), "anchor": "y", **both},
        "yaxis": {"anchor": "x", **left},
        "xaxis2": {"domain": (0.56, 1), "anchor": "y2", **both},
        "yaxis2": {"anchor": "x2", **right},
    }


def dashed(color: str, **place: Any) -> Layout:
    """A dashed line across a plot, among the shapes."""
    return {"type": "line", "line": {"color": color, "width": 1.5, "dash": "dash"}, **place}


def matrix_axes(
    n: int,
    shape: tuple[int, ...],
    across: tuple[float, float],
    upward: tuple[float, float],
    *,
    first: bool,
    says: str = "",
) -> Layout:
    """Axes n for a matrix (o, i), o downwards; their ranges are given, for one that is drawn empty has none.

    What both axes have to say stands at the first's upward one: along x the words of neighbours would meet.
    """
    x = {"domain": across, "anchor": f"y{n}", "title": IN_AXIS, "range": (-0.5, shape[1] - 0.5), **BOX}
    y = {"domain": upward, "anchor": f"x{n}", "range": (shape[0] - 0.5, -0.5), "showticklabels": first, **BOX}
    return {f"xaxis{n}": x, f"yaxis{n}": y | ({"title": OUT_AXIS + (f"<br>{says}" if says else "")} if first else {})}


def one_in(shape: tuple[int, ...], most: int) -> int:
    """Of how many rows and columns one is drawn, so that no side has more than so many."""
    return -(-max(shape) // most)


def largest(values: np.ndarray) -> float:
    return float(np.abs(values).max(initial=0.0))
