"""Where the names beside points go, so that they cover neither each other nor the points.

Each name takes the place, of ten around its points, where it lies over the least: over names placed before, over any
points and the lines that join them, and beyond the plot. Sizes are those of a plot in a notebook's column.
"""

from __future__ import annotations

from collections.abc import Sequence

WIDTH, HEIGHT = 620.0, 260.0  # of the plot, in pixels
LETTER, LINE = 6.6, 15.0  # a letter's width and a line's height
DOT = 6.0  # half a point's width, and the gap beside it
RIGHT = 120.0  # pixels beyond the plot's right end where a name may still stand; above and below it is a line

Box = tuple[float, float, float, float]  # left, low, right, high
Place = tuple[str, int]  # plotly's word for the side, and which of the points carries the name


def label_places(names: Sequence[str], groups: Sequence[Sequence[tuple[float, float]]]) -> list[Place]:
    """A place for each name, in their order.

    Args:
        names: one for each group.
        groups: its points (x, y) from the lowest to the highest, from 0 to 1 across the plot.
    """
    points = [[(x * WIDTH, y * HEIGHT) for x, y in group] for group in groups]
    covered = [_around(group) for group in points]
    places = []
    for name, group in zip(names, points, strict=True):
        offered = [((side, at), _box(name, side, group[at])) for side, at in _sides(len(group))]
        place, box = min(offered, key=lambda choice: sum(_shared(choice[1], other) for other in covered))
        places.append(place)
        covered.append(box)
    return places


def _sides(count: int) -> list[Place]:
    last = count - 1
    return [
        ("top center", last),
        ("bottom center", 0),
        ("middle right", last),
        ("middle left", last),
        ("middle right", 0),
        ("middle left", 0),
        ("top right", last),
        ("top left", last),
        ("bottom right", 0),
        ("bottom left", 0),
    ]


def _around(group: Sequence[tuple[float, float]]) -> Box:
    """What the points of one name cover, the line between them included."""
    across, up = [x for x, _ in group], [y for _, y in group]
    return min(across) - DOT, min(up) - DOT, max(across) + DOT, max(up) + DOT


def _box(name: str, side: str, point: tuple[float, float]) -> Box:
    x, y = point
    width = LETTER * len(name)
    left = {"center": x - width / 2, "right": x + DOT, "left": x - DOT - width}[side.split()[1]]
    low = {"top": y + DOT, "bottom": y - DOT - LINE, "middle": y - LINE / 2}[side.split()[0]]
    return left, low, left + width, low + LINE


def _shared(box: Box, other: Box) -> float:
    """The area that two boxes share, and what of the first lies beyond the plot."""
    across = min(box[2], other[2]) - max(box[0], other[0])
    up = min(box[3], other[3]) - max(box[1], other[1])
    beside = max(0.0, -box[0]) + max(0.0, box[2] - WIDTH - RIGHT)
    above = max(0.0, -LINE - DOT - box[1]) + max(0.0, box[3] - HEIGHT - 2 * LINE)
    return max(0.0, across) * max(0.0, up) + LINE * (beside + above)
