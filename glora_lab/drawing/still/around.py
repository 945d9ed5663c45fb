"""What stands over and around the traces: outlines and lines, notes, the legend and the title."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from glora_lab.drawing.theme import TEXT

from .axes import Axis
from .bars import hatch, hatch_name
from .curves import dashed, mark
from .values import each
from .words import lines_of, safe, width_of, written

ROW, SWATCH = 19, 30  # pixels: a row of the legend, a name's sign
Plot = tuple[float, float, float, float]  # left, top, width, height


def shape(drawn: dict[str, Any], axes: Mapping[str, Axis], plot: Plot) -> str:
    x0, x1, y0, y1 = (_at(end[0], drawn[end], drawn, axes, plot) for end in ("x0", "x1", "y0", "y1"))
    line = drawn.get("line", {})
    path = (
        f"M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}"
        if drawn["type"] == "line"
        else (f"M{x0:.1f} {y0:.1f}H{x1:.1f}V{y1:.1f}H{x0:.1f}Z")
    )
    fill, color = safe(drawn.get("fillcolor", "none")), safe(line.get("color", TEXT))
    return f'<path d="{path}" fill="{fill}" stroke="{color}" stroke-width="{line.get("width", 2):g}"{dashed(line)}/>'


def note(told: dict[str, Any], axes: Mapping[str, Axis], plot: Plot, font: dict[str, Any]) -> str:
    x = _at("x", told["x"], told, axes, plot, exponents=True) + told.get("xshift", 0)
    y = _at("y", told["y"], told, axes, plot, exponents=True) - told.get("yshift", 0)
    anchor = (told.get("xanchor", "center"), told.get("yanchor", "middle"))
    known = {"auto": "center"}.get(anchor[0], anchor[0]), {"auto": "middle"}.get(anchor[1], anchor[1])
    return written(x, y, told["text"], {**font, **told.get("font", {})}, known, told.get("textangle", 0))


def title(layout: dict[str, Any], template: dict[str, Any]) -> str:
    told = {**template["title"], **layout.get("title", {})}
    font = {**layout["font"], **template["title"].get("font", {}), **told.get("font", {})}
    lines = len(lines_of(told.get("text", "")))
    top = told["pad"]["t"] - (10 if lines > 1 else 0)
    return written(told["pad"]["l"], top, told.get("text", ""), font, ("left", "top"))


def legend(
    traces: list[dict[str, Any]], layout: dict[str, Any], told: dict[str, Any], plot: Plot, height: float
) -> Iterator[str]:
    """Signs and names in rows from the left, above the place that it has."""
    left, top, width, tall = plot
    rows = legend_rows(traces, layout, width)
    whole = told.get("yref") == "container"
    y = height * (1 - told["y"]) if whole else top + tall * (1 - told["y"])
    first = y + ROW / 2 if told.get("yanchor") == "top" else y - ROW * (len(rows) - 0.5)
    for n, row in enumerate(rows):
        for place, trace in row:
            yield _sign(trace, left + place, first + n * ROW)
            yield written(left + place + SWATCH, first + n * ROW, trace["name"], layout["font"], ("left", "middle"))


def legend_rows(
    traces: list[dict[str, Any]], layout: dict[str, Any], width: float
) -> list[list[tuple[float, dict[str, Any]]]]:
    """The traces that the legend names, row by row, each with its place from the left; none where it has no legend."""
    signed = [trace for trace in traces if trace["type"] != "heatmap" and trace.get("name")]
    named = [trace for trace in signed if trace.get("showlegend", True)]
    alone = len(named) < 2 and not layout.get("showlegend") and not any(trace.get("showlegend") for trace in named)
    if layout.get("showlegend") is False or alone:
        return []
    rows: list[list[tuple[float, dict[str, Any]]]] = [[]]
    x = 0.0
    for trace in named:
        wide = SWATCH + width_of(trace["name"], 12) + 14
        if x + wide > width and rows[-1]:
            rows.append([])
            x = 0.0
        rows[-1].append((x, trace))
        x += wide
    return rows


def _sign(trace: dict[str, Any], x: float, y: float) -> str:
    marker, line = trace.get("marker", {}), trace.get("line", {})
    color = each(marker.get("color", line.get("color")), 1)[0] or trace["color"]
    if trace["type"] == "bar":
        shaped = each(marker.get("pattern", {}).get("shape"), 1)[0]
        fill = f"url(#{hatch_name(color)})" if shaped else color
        drawn = f'<rect x="{x + 8:.1f}" y="{y - 6:.1f}" width="14" height="12" fill="{safe(fill)}"/>'
        return hatch(color) + drawn if shaped else drawn
    mode, drawn = trace.get("mode", "lines"), ""
    if "lines" in mode:
        drawn = (
            f'<path d="M{x:.1f} {y:.1f}h24" stroke="{safe(line.get("color", color))}" '
            f'stroke-width="{line.get("width", 2):g}"{dashed(line)}/>'
        )
    if "markers" in mode:
        edge = marker.get("line", {})
        sizes, symbols = each(marker.get("size", 6), 1), each(marker.get("symbol", "circle"), 1)
        edges, wide = each(edge.get("color"), 1), each(edge.get("width", 0), 1)
        drawn += mark(x + 12, y, min(sizes[0] or 6, 12), symbols[0] or "circle", color, edges[0], wide[0] or 0)
    return drawn


def _at(
    letter: str, value: Any, told: dict[str, Any], axes: Mapping[str, Axis], plot: Plot, exponents: bool = False
) -> float:
    """A place on the paper, on an axis, or on an axis's own length ("x2 domain").

    On a log axis plotly wants a note's exponent, and a shape's value.
    """
    ref = told.get(f"{letter}ref", letter)
    left, top, width, height = plot
    if ref == "paper":
        return left + width * float(value) if letter == "x" else top + height * (1 - float(value))
    axis = axes[ref.split()[0]]
    if ref.endswith("domain"):
        return axis.start + float(value) * (axis.end - axis.start)
    return axis.at(float(value)) if axis.log and exponents else axis.place(value)
