"""Two adapters merged together and one after the other: by how much the weight is wrong."""

from __future__ import annotations

from glora_lab.drawing.picture import Picture, draw, draws
from glora_lab.drawing.theme import RIGHT, WRONG, ending, plain, small
from glora_lab.drawing.traces import Layout, bars

from .record import MergeOrder

ROUNDING = 1e-9


@draws(MergeOrder)
def draw_merge_order(order: MergeOrder) -> Picture:
    """Three bars: both at once, and each before the other.

    In words: the three distances, relative to both changes.

    Args:
        order: what `merge_order` returns.
    """
    first, second = (plain(name) for name in order.names)
    ways = ["both together", f"{first}, then {second}", f"{second}, then {first}"]
    shares = [100 * share for share in (order.together, *order.in_turn)]
    colors = [WRONG if share > 100 * ROUNDING else RIGHT for share in shares]
    look: Layout = {"text": [_percent(share / 100) for share in shares], "width": 0.5, "textfont": {"size": 14}}
    return draw(
        [bars(ways, shares, colors, "%{x}: %{y:.3g}%<extra></extra>", name="off", **look)],
        f"{_finding(order)}<br>{small(f'{ending(plain(order.layer), 34)}, of both changes together', 12)}",
        _in_words(order),
        height=400,
        showlegend=False,
        margin={"t": 84, "b": 44},
        xaxis={"showgrid": False},
        yaxis={"title": "weight and bias off by", "ticksuffix": "%", "range": (0, 1.2 * max(*shares, 1.0))},
    )


def _finding(order: MergeOrder) -> str:
    worst = max(order.in_turn)
    if worst <= ROUNDING:
        return "Together or in turn: the same weight"
    return f"Merged in turn the weight is {_percent(worst)} wrong, together right"


def _in_words(order: MergeOrder) -> str:
    first, second = order.names
    one, other = map(_percent, order.in_turn)
    return (
        f"Two {order.method or 'added'} adapters on layer {order.layer}, merged: together the weight is off by "
        f"{_percent(order.together)} of both changes; {first}, then {second}, by {one}; the other way round by {other}."
    )


def _percent(share: float) -> str:
    return "nothing" if share <= ROUNDING else f"{share:.2g}" if share < 1e-4 else f"{share:.1%}"
