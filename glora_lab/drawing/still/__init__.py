"""A figure as a still picture, for pages that have no plotly: GitHub's, nbconvert's, a book's.

Decisions. The picture is SVG, written here: what plotly has for it starts a browser, which readers do not have, and
its script in a page weighs 4.5 MB. Only what the library's figures use is drawn (bars, heatmaps, lines with markers
and texts, in any number of axes), from the same data as plotly gets; a kind of trace that is not known is refused,
so that no picture lacks it in silence. It has no background, and its text a shade for light pages and one for dark.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from glora_lab.drawing.inks import INKS, still_class, still_style
from glora_lab.drawing.theme import GREYS, TEMPLATE

from .around import Plot, legend, note, shape, title
from .axes import Axis
from .bars import bars, stacked
from .cells import colorbar, heatmap, room_for
from .curves import curve
from .values import grid
from .words import bare, safe

WIDTH, HEIGHT = 900, 450  # pixels, where the figure does not say
KINDS = ("bar", "heatmap", "scatter")


def still(figure: dict[str, Any]) -> str:
    """The SVG of a figure that is given as plotly's JSON, as `json.loads(figure.to_json())`.

    Raises:
        ValueError: for a kind of trace that the library's figures do not use.
    """
    layout = {**figure["layout"]}
    template = TEMPLATE.layout.to_plotly_json()  # the house's look, whatever the figure carries
    layout["font"] = {**template["font"], **layout.get("font", {})}
    layout.setdefault("bargap", template.get("bargap", 0.2))
    traces = _traces(figure["data"], template["colorway"])
    stacked(traces, layout.get("barmode", "group"))
    width, height = layout.get("width", WIDTH), layout.get("height", HEIGHT)
    axes = _axes(layout, template, traces)
    plot = _placed(axes, layout, template, _scales(layout, traces), width, height)
    parts = "".join(_parts(layout, template, traces, axes, plot, height))
    style = still_style(color for color in INKS if f'class="{still_class(color)}"' in parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" style="max-width:100%;height:auto" role="img" xml:space="preserve" '
        f'aria-label="{safe(bare(layout.get("title", {}).get("text", "")))}" '
        f'font-family="{safe(layout["font"]["family"])}">{style}{parts}</svg>'
    )


def _traces(data: list[dict[str, Any]], colors: list[str]) -> list[dict[str, Any]]:
    traces = []
    for n, given in enumerate(data):
        if given["type"] not in KINDS:
            raise ValueError(f"`type` (={given['type']!r}) of a trace must be one of {', '.join(KINDS)}")
        if given.get("visible", True) is True:
            trace = {"xaxis": "x", "yaxis": "y", "color": colors[n % len(colors)], **given}
            if "z" in trace:
                trace = {"colorscale": GREYS, **trace, "z": grid(trace["z"])}
            traces.append(trace)
    return traces


def _axes(layout: dict[str, Any], template: dict[str, Any], traces: list[dict[str, Any]]) -> dict[str, Axis]:
    told = {key.replace("axis", "") for key in layout if re.fullmatch(r"[xy]axis\d*", key)}
    used = {trace[key] for trace in traces for key in ("xaxis", "yaxis")}
    axes: dict[str, Axis] = {}
    for name in sorted(told | used | {"x", "y"}):
        key = f"{name[0]}axis{name[1:]}"
        given, common = layout.get(key, {}), template[f"{name[0]}axis"]
        titled = {**common["title"], **given.get("title", {})}
        mine = [trace for trace in traces if trace[f"{name[0]}axis"] == name]
        letter = name[0]
        lying = [drawn for drawn in layout.get("shapes", []) if drawn.get(f"{letter}ref", letter) == name]
        over = [drawn[end] for drawn in lying for end in (f"{letter}0", f"{letter}1")]
        axes[name] = Axis(name, {**common, **given, "title": titled}, mine, over)
    return axes


def _scales(layout: dict[str, Any], traces: list[dict[str, Any]]) -> list[tuple[dict[str, Any], np.ndarray]]:
    """What has a bar of colours, traces and colour axes, and values that it is for."""
    found = [(layout.get(trace.get("coloraxis", ""), trace), trace["z"]) for trace in traces if "z" in trace]
    return [(scale, z) for n, (scale, z) in enumerate(found) if scale.get("showscale", True) and _is_first(found, n)]


def _is_first(found: list[tuple[dict[str, Any], np.ndarray]], n: int) -> bool:
    return all(found[n][0] is not scale for scale, _ in found[:n])


def _placed(
    axes: dict[str, Axis],
    layout: dict[str, Any],
    template: dict[str, Any],
    scales: list[tuple[dict[str, Any], np.ndarray]],
    width: float,
    height: float,
) -> Plot:
    """Give each axis its pixels, after the margins that its words need."""
    margin = {**template["margin"], **layout.get("margin", {})}
    first = [a for a in axes.values() if a.letter == "y" and axes[_across(a)].spec.get("domain", [0])[0] < 0.02]
    for axis in axes.values():  # for the number of ticks, before the margins are known
        low, high = axis.spec.get("domain", [0, 1])
        axis.start, axis.end = (low * width, high * width) if axis.letter == "x" else (high * height, low * height)
    needs = [
        a.words_beside() + 14 + 18 * bool(a.spec["title"].get("text"))
        for a in first
        if a.spec.get("visible", True) and not a.right
    ]
    left = max([margin["l"], *needs])
    right = max([margin["r"], *(room_for(scale, z) for scale, z in scales)])
    plot = (left, margin["t"], width - left - right, height - margin["t"] - margin["b"])
    for axis in axes.values():
        low, high = axis.spec.get("domain", [0, 1])
        if axis.letter == "x":
            axis.start, axis.end = plot[0] + low * plot[2], plot[0] + high * plot[2]
        else:
            axis.start, axis.end = (plot[1] + (1 - share) * plot[3] for share in (low, high))
    for axis in axes.values():
        if "scaleanchor" in axis.spec:
            _squared(axis, axes[axis.spec["scaleanchor"]])
    return plot


def _squared(one: Axis, other: Axis) -> None:
    """Shrink one of two axes about its middle, so that a unit is as long on both."""
    pixels = {axis.name: abs(axis.end - axis.start) / (abs(axis.high - axis.low) or 1) for axis in (one, other)}
    for axis in (one, other):
        share, middle = min(pixels.values()) / pixels[axis.name], (axis.start + axis.end) / 2
        axis.start, axis.end = (middle + (end - middle) * share for end in (axis.start, axis.end))


def _across(axis: Axis) -> str:
    return str(axis.spec.get("anchor") or ("y" if axis.letter == "x" else "x") + axis.name[1:])


def _opened(trace: dict[str, Any], x: Axis, y: Axis) -> Iterator[str]:
    """A group for the trace, which ends at its axes' ends unless it says otherwise."""
    if trace.get("cliponaxis") is False:
        yield "<g>"
        return
    left, top, right, bottom = x.start, y.end, x.end, y.start
    name = f"within{left:.0f}-{top:.0f}-{right:.0f}-{bottom:.0f}"
    place = f'x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}"'
    yield f'<clipPath id="{name}"><rect {place}/></clipPath><g clip-path="url(#{name})">'


def _parts(
    layout: dict[str, Any],
    template: dict[str, Any],
    traces: list[dict[str, Any]],
    axes: dict[str, Axis],
    plot: Plot,
    height: float,
) -> Iterator[str]:
    font = layout["font"]
    yield title(layout, template)
    shown = [axis for axis in axes.values() if axis.traces or not traces]  # one of no trace is not drawn
    for axis in shown:
        yield from axis.ruled(axes[_across(axis)])
    for trace in traces:
        x, y = axes[trace["xaxis"]], axes[trace["yaxis"]]
        yield from _opened(trace, x, y)
        if trace["type"] == "heatmap":
            yield from heatmap(trace, layout, x, y, font)
        elif trace["type"] == "bar":
            beside = [t for t in traces if t["type"] == "bar" and (t["xaxis"], t["yaxis"]) == (x.name, y.name)]
            yield from bars(trace, beside, x, y, layout)
        else:
            yield from curve(trace, x, y, font)
        yield "</g>"
    for axis in shown:
        yield from axis.drawn(axes[_across(axis)], font)
    for scale, z in _scales(layout, traces):
        yield from colorbar(scale, z, plot, font)
    yield from (shape(drawn, axes, plot) for drawn in layout.get("shapes", []))
    yield from (note(told, axes, plot, font) for told in layout.get("annotations", []))
    yield from legend(traces, layout, {**template["legend"], **layout.get("legend", {})}, plot, height)
