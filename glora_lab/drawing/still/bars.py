"""Bars: side by side, or one on another, with a text inside or at their end."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from .axes import Axis
from .values import each, values
from .words import safe, width_of, written

FEW = 24  # bars of a colour
Box = tuple[float, float, float, float]  # left, top, width, height


def stacked(traces: list[dict[str, Any]], mode: str) -> None:
    """Give each bar trace its `bases` and `ends` along the value's axis: those of one place stand on one another."""
    tops: dict[Any, float] = defaultdict(float)
    for trace in traces:
        if trace["type"] != "bar":
            continue
        where, far = _sides(trace)
        trace["bases"], trace["ends"] = [], []
        for place, value in zip(where, far, strict=False):
            length = float(value or 0)
            key = (trace["xaxis"], trace["yaxis"], place, length < 0)
            base = tops[key] if mode in ("stack", "relative") else 0.0
            tops[key] = base + length
            trace["bases"].append(base)
            trace["ends"].append(base + length)


def bars(
    trace: dict[str, Any], beside: list[dict[str, Any]], x: Axis, y: Axis, layout: dict[str, Any]
) -> Iterator[str]:
    """`beside` are the traces that share its places, itself among them."""
    flat = trace.get("orientation") == "h"
    along, value_axis = (y, x) if flat else (x, y)
    where, _ = _sides(trace)
    count = len(where)
    places = len(beside) if layout.get("barmode", "group") == "group" else 1
    room = (1 - layout.get("bargap", 0.2)) / places
    shift = (beside.index(trace) - (places - 1) / 2) * room if places > 1 else 0.0
    marker = trace.get("marker", {})
    colors, widths = each(marker.get("color"), count), each(trace.get("width"), count)
    shapes = each(marker.get("pattern", {}).get("shape"), count)
    boxes: dict[str, list[Box]] = defaultdict(list)
    for n, place in enumerate(where):
        half = (widths[n] or room) / 2
        middle = along.unit(place) + shift
        a, b = sorted((along.at(middle - half), along.at(middle + half)))
        c, d = sorted((value_axis.place(trace["bases"][n]), value_axis.place(trace["ends"][n])))
        left, top, right, bottom = (c, a, d, b) if flat else (a, c, b, d)
        color = colors[n] or trace["color"]
        fill = color if not shapes[n] else f"url(#{hatch_name(color)})"
        if shapes[n]:
            yield hatch(color)
        boxes[fill].append((left, top, right - left, bottom - top))
    for fill, found in boxes.items():
        yield from _filled(found, fill)
    yield from _texts(trace, x, y, flat, {**layout["font"], **trace.get("textfont", {})}, shift)


def _filled(boxes: list[Box], fill: str) -> Iterator[str]:
    """Few as rectangles, many as one outline: a notebook is saved with its pictures."""
    if len(boxes) > FEW:
        outline = "".join(f"M{x:.1f} {y:.1f}h{width:.1f}v{height:.1f}h-{width:.1f}z" for x, y, width, height in boxes)
        yield f'<path d="{outline}" fill="{safe(fill)}"/>'
        return
    for x, y, width, height in boxes:
        yield f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{safe(fill)}"/>'


def hatch_name(color: str) -> str:
    return f"hatch{zlib.crc32(color.encode())}"


def hatch(color: str) -> str:
    """Stripes, for a bar of another kind."""
    return (
        f'<pattern id="{hatch_name(color)}" width="6" height="6" patternUnits="userSpaceOnUse" '
        f'patternTransform="rotate(45)"><path d="M1.5 0V6" stroke="{safe(color)}" stroke-width="3"/></pattern>'
    )


def _texts(trace: dict[str, Any], x: Axis, y: Axis, flat: bool, font: dict[str, Any], shift: float) -> Iterator[str]:
    where, _ = _sides(trace)
    outside = trace.get("textposition") == "outside"
    for place, base, end, text in zip(
        where, trace["bases"], trace["ends"], each(trace.get("text"), len(where)), strict=False
    ):
        if not text:
            continue
        along, value_axis = (y, x) if flat else (x, y)
        side, tip = along.at(along.unit(place) + shift), value_axis.place(end)
        middle = (value_axis.place(base) + tip) / 2
        room = abs(tip - value_axis.place(base))
        if not outside and (width_of(text, font["size"]) if flat else font["size"]) > room:
            continue
        if flat:
            at, anchor = ((tip + 4, side), ("left", "middle")) if outside else ((middle, side), ("center", "middle"))
        else:
            at, anchor = ((side, tip - 3), ("center", "bottom")) if outside else ((side, middle), ("center", "middle"))
        yield written(*at, str(text), font, anchor)


def _sides(trace: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """Where the bars stand, and how far they go."""
    x, y = values(trace.get("x")), values(trace.get("y"))
    return (y, x) if trace.get("orientation") == "h" else (x or list(range(len(y))), y)
