"""Heatmaps: cells with texts or gaps as rectangles, others as one small PNG; and the bar that explains the colours."""

from __future__ import annotations

import base64
import math
import re
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from glora_lab.drawing.inks import over

from .axes import Axis
from .values import number, values
from .words import width_of, written

MANY = 2**15  # cells
COLORS, FEWER_COLORS = 32, 16  # of a scale: a notebook is saved with its pictures, and of noise every bit a cell counts
SMALLEST = 6  # pixels of a letter in a cell
GAP, THICK, PAD = 10, 10, 10  # pixels between a heatmap and its bar, of the bar, and at its ends
TURNED = 'x1="0" y1="1" x2="0" y2="0"'  # a gradient from the bottom to the top


def heatmap(trace: dict[str, Any], layout: dict[str, Any], x: Axis, y: Axis, font: dict[str, Any]) -> Iterator[str]:
    z = trace["z"]
    if not z.size:
        return
    levels, palette = _levels(z, layout.get(trace.get("coloraxis", ""), trace))
    xs, ys = _edges(trace, x, z.shape[1]), _edges(trace, y, z.shape[0])
    if "texttemplate" in trace or "xgap" in trace:
        yield from _rectangles(trace, z, palette[levels], xs, ys, font)
        return
    turned = levels[:: 1 if ys[-1] >= ys[0] else -1, :: 1 if xs[-1] >= xs[0] else -1]
    left, right, top, bottom = *sorted((xs[0], xs[-1])), *sorted((ys[0], ys[-1]))
    # The image by itself says nothing of its place: pictures that differ in that share it, see page/sweep.py.
    yield f'<g transform="translate({left:.1f} {top:.1f}) scale({right - left:.1f} {bottom - top:.1f})">'
    yield (
        f'<image width="1" height="1" preserveAspectRatio="none" style="image-rendering:pixelated" '
        f'href="{_png(turned, palette)}"/></g>'
    )


def colorbar(scale: dict[str, Any], z: np.ndarray, plot: tuple[float, ...], font: dict[str, Any]) -> Iterator[str]:
    """`scale` is a trace or a colour axis; `plot` its left, top, width and height."""
    bar, axis = scale.get("colorbar", {}), _bar_axis(scale, z)
    left, top, width, height = plot
    flat = axis.letter == "x"
    length = (width if flat else height) * bar.get("len", 1.0) - 2 * PAD * (not flat)
    x = left + width * bar["x"] if "x" in bar else left + width + GAP
    y = top + height * (1 - bar.get("y", 0.5))
    x, y = (x - length / 2, y + 16) if flat else (x, y - length / 2)
    axis.start, axis.end = (x, x + length) if flat else (y + length, y)
    stops = "".join(f'<stop offset="{at:.3f}" stop-color="{color}"/>' for at, color in scale["colorscale"])
    name = f"scale{zlib.crc32(stops.encode())}{axis.letter}"
    wide, high = (length, THICK) if flat else (THICK, length)
    yield f'<linearGradient id="{name}" {"" if flat else TURNED}>{stops}</linearGradient>'
    yield f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{high:.1f}" fill="url(#{name})"/>'
    small = {**font, "size": 11, **bar.get("tickfont", {})}
    for unit, text in axis.apart(axis.ticks(), small["size"]) if flat else axis.ticks():
        at = axis.at(unit)
        place, anchor = ((at, y + THICK + 2), ("center", "top")) if flat else ((x + 14, at), ("left", "middle"))
        yield written(place[0], place[1], text, small, anchor)
    told = bar.get("title", {})
    ink = {**font, **told.get("font", {})}
    if told.get("text") and flat:
        yield written(x + length / 2, y - 2, told["text"], ink, ("center", "bottom"))
    elif told.get("text"):
        yield written(x + 18 + axis.words_beside(), y + length / 2, told["text"], ink, ("center", "bottom"), 90)


def room_for(scale: dict[str, Any], z: np.ndarray) -> float:
    """How much of the right margin its bar takes; one that is placed by hand has its room already."""
    bar = scale.get("colorbar", {})
    if not scale.get("showscale", True) or "x" in bar:
        return 0.0
    return GAP + 26 + _bar_axis(scale, z).words_beside() + 18 * bool(bar.get("title", {}).get("text"))


def _bar_axis(scale: dict[str, Any], z: np.ndarray) -> Axis:
    bar = scale.get("colorbar", {})
    spec = {"nticks": 5, **bar, "range": list(_limits(scale, z)), "title": {}}
    return Axis("x" if bar.get("orientation") == "h" else "y", spec, [], [], 0.0, 200.0)


def _limits(scale: dict[str, Any], z: np.ndarray) -> tuple[float, float]:
    told = z[np.isfinite(z)]
    low, high = (told.min(), told.max()) if told.size else (0.0, 1.0)
    mid = scale.get("zmid", scale.get("cmid"))
    least, most = scale.get("zmin", scale.get("cmin")), scale.get("zmax", scale.get("cmax"))
    if mid is not None and least is None and most is None:
        half = max(abs(high - mid), abs(low - mid))
        low, high = mid - half, mid + half
    return float(low if least is None else least), float(high if most is None else most)


def _levels(z: np.ndarray, scale: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Each cell's number in a palette (colours + 1, 3) of bytes; the last number is of what has no value."""
    count = max(COLORS if z.size <= MANY else FEWER_COLORS, len(scale["colorscale"]))  # a palette is kept whole
    low, high = _limits(scale, z)
    share = np.clip((z - low) / ((high - low) or 1.0), 0, 1)
    stops = [at for at, _ in scale["colorscale"]]
    colors = np.array([[int(color[n : n + 2], 16) for n in (1, 3, 5)] for _, color in scale["colorscale"]])
    steps = np.linspace(0, 1, count)
    mixed = np.stack([np.interp(steps, stops, colors[:, n]) for n in range(3)], -1)
    known = np.isfinite(share)
    levels = np.where(known, np.where(known, share, 0.0) * (count - 1), count).round().astype(np.uint8)
    return levels, np.concatenate([mixed.round(), np.zeros((1, 3))]).astype(np.uint8)


def _edges(trace: dict[str, Any], axis: Axis, count: int) -> list[float]:
    """The count + 1 places in pixels between which the cells lie."""
    letter = axis.letter
    told, step = values(trace.get(letter)), float(trace.get(f"d{letter}", 1))
    first = axis.unit(told[0]) if told else float(trace.get(f"{letter}0", 0))
    if len(told) > 1:
        step = axis.unit(told[1]) - first
    return [axis.at(first + (n - 0.5) * step) for n in range(count + 1)]


def _rectangles(
    trace: dict[str, Any], z: np.ndarray, shades: np.ndarray, xs: list[float], ys: list[float], font: dict[str, Any]
) -> Iterator[str]:
    gap = float(trace.get("xgap", 0)) / 2
    sharp = "" if gap else ' shape-rendering="crispEdges"'  # no hairlines between neighbours
    for (row, column), value in np.ndenumerate(z):
        if not math.isfinite(value):
            continue
        left, right = sorted((xs[column], xs[column + 1]))
        top, bottom = sorted((ys[row], ys[row + 1]))
        color = "#" + "".join(f"{int(part):02x}" for part in shades[row, column])
        yield (
            f'<rect x="{left + gap:.1f}" y="{top + gap:.1f}" width="{right - left - 2 * gap:.1f}" '
            f'height="{bottom - top - 2 * gap:.1f}" fill="{color}"{sharp}/>'
        )
        if text := _text(trace, row, column, float(value)):
            ink = {**font, "color": over(color), **trace.get("textfont", {})}
            fits = ink["size"] * (right - left - 2 * gap) / (1.25 * width_of(text, ink["size"]))  # digits are wide
            ink["size"] = max(SMALLEST, min(ink["size"], fits))
            yield written((left + right) / 2, (top + bottom) / 2, text, ink, ("center", "middle"))


def _text(trace: dict[str, Any], row: int, column: int, value: float) -> str:
    template = trace.get("texttemplate", "")
    if "%{text}" in template:
        return str(values(values(trace["text"])[row])[column] or "")
    return re.sub(r"%\{z:([^}]*)\}", lambda found: number(value, found[1]), template)


def _png(levels: np.ndarray, palette: np.ndarray) -> str:
    """An image (rows, columns) of numbers of colours, as a data URI; the palette's last is transparent."""
    rows, columns = levels.shape
    raw = np.concatenate([np.zeros((rows, 1), np.uint8), levels], 1).tobytes()

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    parts = (
        chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)),
        chunk(b"PLTE", palette.tobytes()),
        chunk(b"tRNS", b"\xff" * (len(palette) - 1) + b"\x00"),
        chunk(b"IDAT", zlib.compress(raw)),
        chunk(b"IEND", b""),
    )
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(parts)).decode()
