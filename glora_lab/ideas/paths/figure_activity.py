"""The timeline of the five paths while a model trains: how large each has become, and who gets the gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from glora_lab.drawing.picture import Picture, draw, draws
from glora_lab.drawing.theme import path_color
from glora_lab.drawing.traces import on

from .record import PathActivity

Moments = Sequence[PathActivity]


@draws(PathActivity)
def draw_path_activity(moments: Moments) -> Picture:
    """Norm of each path's terms (left) and its share of the squared gradient (right), over the moments given."""
    paths = list(moments[0].norms) if moments else []
    traces = [trace for path in paths for trace in _lines(path, moments)]
    across = {"title": "step"}
    return draw(
        traces,
        _title(moments),
        _in_words(moments),
        height=320,
        margin={"t": 76},
        xaxis={"domain": (0, 0.46), "anchor": "y", **across},
        yaxis={"anchor": "x", "title": "norm of the path's terms", "rangemode": "tozero"},
        xaxis2={"domain": (0.56, 1), "anchor": "y2", **across},
        yaxis2={"anchor": "x2", "title": "share of the gradient", "range": (0, 1), "tickformat": ".0%"},
    )


def _in_words(moments: Moments) -> str:
    """Where each path stands at the last moment."""
    if not moments:
        return "Nothing has been measured yet."
    last = moments[-1]
    words = (f"{p} has norm {last.norms[p]:.2g} and {last.shares[p]:.0%} of the gradient" for p in last.norms)
    return f"At step {last.index}: {'; '.join(words)}."


def _lines(path: str, moments: Moments) -> list[dict[str, Any]]:
    steps = [moment.index for moment in moments]
    common = {
        "type": "scatter",
        "x": steps,
        "mode": "lines+markers",
        "name": path,
        "legendgroup": path,
        "line": {"color": path_color(path), "width": 2},
        "marker": {"size": 5},
    }
    norms = {"y": [moment.norms[path] for moment in moments], "hovertemplate": "step %{x}: norm %{y:.3f}"}
    shares = {"y": [moment.shares[path] for moment in moments], "hovertemplate": "step %{x}: %{y:.1%}"}
    return [{**common, **norms}, {**common, **shares, **on(2), "showlegend": False}]


def _title(moments: Moments) -> str:
    if not moments:
        return "Nothing has been measured yet"
    shares = moments[-1].shares
    most = max(shares, key=lambda path: shares[path])
    return f"After {moments[-1].index} steps path <b>{most}</b> gets most of the gradient, {shares[most]:.0%}"
