"""Lines, markers and the texts beside them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any

from .axes import Axis
from .values import each, values
from .words import safe, written

DASHES = {"dot": "2 3", "dash": "8 5", "longdash": "14 6", "dashdot": "8 4 2 4", "longdashdot": "14 5 2 5"}
BESIDE = {"left": "right", "right": "left", "center": "center"}  # the text's side that touches the marker
UPON = {"top": "bottom", "bottom": "top", "middle": "middle"}
SHAPES = {
    "square": "M-1 -1H1V1H-1Z",
    "diamond": "M0 -1.3L1.3 0L0 1.3L-1.3 0Z",
    "x": "M-1 -1L1 1M-1 1L1 -1",
    "line-ew": "M-1 0H1",
    "cross": "M-1 0H1M0 -1V1",
    "triangle-up": "M0 -1.2L1.1 .9H-1.1Z",
    "star": "M0 -1.3L.4 -.4L1.3 -.4L.6 .2L.8 1.1L0 .6L-.8 1.1L-.6 .2L-1.3 -.4L-.4 -.4Z",
}


def dashed(line: dict[str, Any]) -> str:
    return f' stroke-dasharray="{DASHES[line["dash"]]}"' if line.get("dash") in DASHES else ""


def curve(trace: dict[str, Any], x: Axis, y: Axis, font: dict[str, Any]) -> Iterator[str]:
    points = [
        (x.place(a), y.place(b)) if a is not None and b is not None else (math.nan, math.nan)
        for a, b in zip(values(trace.get("x")), values(trace.get("y")), strict=False)
    ]
    mode, line = trace.get("mode", "lines"), trace.get("line", {})
    if "lines" in mode:
        color, width = safe(line.get("color", trace["color"])), line.get("width", 2)
        yield f'<path d="{_path(points)}" fill="none" stroke="{color}" stroke-width="{width:g}"{dashed(line)}/>'
    if "markers" in mode:
        marker = trace.get("marker", {})
        sizes, symbols = each(marker.get("size", 6), len(points)), each(marker.get("symbol", "circle"), len(points))
        colors = each(marker.get("color", line.get("color", trace["color"])), len(points))
        edges = each(marker.get("line", {}).get("color"), len(points))
        wide = each(marker.get("line", {}).get("width", 0), len(points))
        looks = zip(sizes, symbols, colors, edges, wide, strict=False)
        drawn = (
            _mark(a, b, size or 6, symbol or "circle", color or trace["color"], edge, width or 0)
            for (a, b), (size, symbol, color, edge, width) in zip(points, looks, strict=False)
            if math.isfinite(a) and math.isfinite(b)
        )
        for look, shapes in groupby(drawn, key=itemgetter(1)):  # said once: there may be a thousand marks
            yield f"<g {look}>{''.join(shape for shape, _ in shapes)}</g>"
    if "text" in mode:
        texts, sides = (
            each(trace.get("text"), len(points)),
            each(trace.get("textposition", "middle center"), len(points)),
        )
        for (a, b), text, side in zip(points, texts, sides, strict=True):
            if text and math.isfinite(a) and math.isfinite(b):
                up, across = (side or "middle center").split()
                aside = {"left": -8, "right": 8, "center": 0}[across]
                above = {"top": -7, "bottom": 7, "middle": 0}[up]
                ink = {**font, **trace.get("textfont", {})}
                yield written(a + aside, b + above, str(text), _of(ink, points, (a, b)), (BESIDE[across], UPON[up]))


def mark(x: float, y: float, size: float, symbol: str, color: str, edge: str | None, wide: float) -> str:
    shape, look = _mark(x, y, size, symbol, color, edge, wide)
    return f"<g {look}>{shape}</g>"


def _mark(x: float, y: float, size: float, symbol: str, color: str, edge: str | None, wide: float) -> tuple[str, str]:
    """The shape, and how it is painted."""
    open_ = symbol.endswith("-open")
    name, paint = symbol.removesuffix("-open"), safe(color)
    stroke, width = (paint, 1.5) if open_ or name in ("x", "line-ew", "cross") else (safe(edge or paint), wide)
    if name == "line-ew":
        stroke, width = safe(edge or color), wide or 1
    if name == "x":
        width = max(2.0, size / 4)
    look = f'fill="{"none" if open_ else paint}" stroke="{stroke}" stroke-width="{width:g}"'
    if name not in SHAPES:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size / 2:g}"/>', look
    place = f"translate({x:.1f} {y:.1f}) scale({size / 2:g})"
    return f'<path transform="{place}" d="{SHAPES[name]}" vector-effect="non-scaling-stroke"/>', look


def _path(points: list[tuple[float, float]]) -> str:
    """Through the points, broken where one is missing."""
    steps, pen = [], "M"
    for a, b in points:
        if math.isfinite(a) and math.isfinite(b):
            steps.append(f"{pen}{a:.1f} {b:.1f}")
            pen = "L"
        else:
            pen = "M"
    return "".join(steps)


def _of(font: dict[str, Any], points: list[Any], point: Any) -> dict[str, Any]:
    """The font of one point, where each has its own."""
    n = points.index(point)
    return {key: value[n] if isinstance(value, list) else value for key, value in font.items()}
