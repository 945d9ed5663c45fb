"""The timeline of the five paths while a model trains: how large each has become, and who gets the gradient."""

from __future__ import annotations

from collections.abc import Sequence

from glora_lab.drawing.picture import Picture, draw, draws
from glora_lab.drawing.theme import path_color
from glora_lab.drawing.traces import Layout, line, meaning, on, side_by_side

from .record import PathActivity

Moments = Sequence[PathActivity]


@draws(PathActivity)
def draw_path_activity(moments: Moments) -> Picture:
    """Norm of each path's terms (left) and its share of the squared gradient (right), over the moments given.

    In words: both of each path, at the last moment.

    Args:
        moments: what `path_activity` returns, at one step or several, in their order.
    """
    paths = list(moments[0].norms) if moments else []
    norms = {"title": "norm of the path's terms", "rangemode": "tozero"}
    shares = {"title": "share of the gradient", "range": (0, 1), "tickformat": ".0%"}
    traces = [trace for path in paths for trace in _lines(path, moments)]
    axes = side_by_side("step", norms, shares)
    return draw(traces, _title(moments), _in_words(moments), height=320, margin={"t": 76}, **axes)


def _in_words(moments: Moments) -> str:
    """Where each path stands at the last moment."""
    if not moments:
        return "Nothing has been measured yet."
    last = moments[-1]
    words = (f"{p} has norm {last.norms[p]:.2g} and {last.shares[p]:.0%} of the gradient" for p in last.norms)
    return f"At step {last.index}: {'; '.join(words)}."


def _lines(path: str, moments: Moments) -> list[Layout]:
    steps, color = [m.index for m in moments], path_color(path)
    look: Layout = {"mode": "lines+markers", "marker": {"size": 5}}
    norms = line(steps, [m.norms[path] for m in moments], path, color, "step %{x}: norm %{y:.3f}", **look)
    shares = line(steps, [m.shares[path] for m in moments], path, color, "step %{x}: %{y:.1%}", **look)
    return [one | {"legendgroup": path, **meaning(path)} for one in (norms, shares | on(2) | {"showlegend": False})]


def _title(moments: Moments) -> str:
    if not moments:
        return "Nothing has been measured yet"
    shares = moments[-1].shares
    most = max(shares, key=lambda path: shares[path])
    return f"After {moments[-1].index} steps path <b>{most}</b> gets most of the gradient, {shares[most]:.0%}"
