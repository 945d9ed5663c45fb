"""A figure as a phone has it: what stands side by side on a wide page is put below one another.

Decisions. The same plotly JSON goes in and comes out, changed in its places alone, so one drawing serves both pages. A
plot is a box of two axes. Small boxes share a row still, others have one each, and heatmaps keep their shape. Notes and
bars of colours go where their box goes. All room is counted from what stands there, and no figure is known by name.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from math import radians, sin
from typing import Any

from .around import ROW, legend_rows
from .values import values
from .words import LINE, lines_of, width_of, wrapped

WIDTH = 380  # pixels
WIDE = 900  # of the page that a figure is made for
SMALL = 240  # pixels of a wide page: two boxes of that share a row
LEFT, RIGHT, BETWEEN, AIR = 46.0, 20.0, 30.0, 10.0
RIGHT_AXIS, LONGEST = 48, 130  # pixels that its words take, of a line of a note on a mark
LABELS, TITLE = 22, 18  # pixels below a box
BAR = 62  # pixels of a bar of colours with its words
Layout = dict[str, Any]
Place = tuple[float, float, float, float]  # left, top, right, bottom, in pixels


@dataclass
class Box:
    """One plot: its axes' names, where it was and where it is, and what stands above and below it, in pixels."""

    x: str
    y: str
    was: Place
    below: float
    heatmap: bool
    above: float = 0.0
    shares: bool = False  # its row with others
    now: Place = (0.0, 0.0, 0.0, 0.0)

    def far(self, x: float, y: float) -> float:
        """How far outside a point of the wide page lies."""
        left, top, right, bottom = self.was
        return max(left - x, 0.0, x - right) + max(top - y, 0.0, y - bottom)

    def follow(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the wide page has gone with this box."""
        left, top, right, bottom = self.was
        new_left, new_top, new_right, new_bottom = self.now
        across = _follow(x, left, right, new_left, new_right)
        between = min(max(across, new_left - BETWEEN / 2), new_right + BETWEEN / 2)
        return between if self.shares else across, _follow(y, top, bottom, new_top, new_bottom)


Group = list[list[Box]]  # rows of as many boxes, which belong together column by column


def narrow(figure: Layout) -> Layout:
    """The figure, plotly's JSON, as one of 380 pixels. One whose plots are long texts stays as it is."""
    layout, traces = copy.deepcopy(figure["layout"]), [dict(trace) for trace in figure["data"]]
    page = _Page(layout, traces)
    groups = list(_grouped(page.boxes()))
    boxes = [box for group in groups for row in group for box in row]
    if not boxes or any(_longest(trace) > WIDTH for trace in traces):
        return figure
    page.make_room()
    page.take_notes(boxes)
    page.take_bars(boxes)
    page.place(groups)
    page.write(boxes)
    return {"data": traces, "layout": layout}


class _Page:
    """The layout while its places are changed."""

    def __init__(self, layout: Layout, traces: list[Layout]) -> None:
        self.layout, self.traces = layout, traces
        margin = {"l": 56, "r": 16, "t": 64, "b": 48, **layout.get("margin", {})}
        self.top = margin["t"]
        self.width = WIDE - margin["l"] - margin["r"]
        self.height = layout.get("height", 450) - margin["t"] - margin["b"]
        self.taken: list[tuple[Layout, Box, bool]] = []  # whether it goes sideways with it
        self.bars: list[tuple[Layout, Box]] = []
        self.room = 0.0

    def boxes(self) -> Iterator[Box]:
        pairs = dict.fromkeys((trace.get("xaxis", "x"), trace.get("yaxis", "y")) for trace in self.traces)
        for x, y in pairs:
            across, up = self.layout.get(_key(x), {}), self.layout.get(_key(y), {})
            (left, right), (low, high) = across.get("domain") or (0, 1), up.get("domain") or (0, 1)
            place = left * self.width, (1 - high) * self.height, right * self.width, (1 - low) * self.height
            shown = across.get("visible", True)
            words = LABELS * across.get("showticklabels", True) + TITLE * bool(across.get("title"))
            mine = [t for t in self.traces if (t.get("xaxis", "x"), t.get("yaxis", "y")) == (x, y)]
            if turn := across.get("tickangle", 0):
                words += max(width_of(text, 11) for t in mine for text in values(t["x"])) * sin(radians(abs(turn)))
            yield Box(x, y, place, shown * words, any(trace["type"] == "heatmap" for trace in mine))

    def make_room(self) -> None:
        """Margins: at the left as it was told or for a few digits, at the right what stands there."""
        for note in self._notes():
            if note.get("xref", "x") != "paper":
                note["text"] = wrapped(note["text"], LONGEST, _size(note))
        titles = [axis.get("title", {}).get("text", "") for name, axis in self.layout.items() if name[:5] == "yaxis"]
        lines = max((len(lines_of(title)) for title in titles), default=1)
        left = self.layout.get("margin", {}).get("l", LEFT) + 15 * (lines - 1)
        right = max([RIGHT, *self._needs_beside()])
        self.room = WIDTH - left - right
        self.layout["margin"] = {"l": left, "r": right, "t": 0, "b": 0}

    def _needs_beside(self) -> Iterator[float]:
        """Pixels that axes and texts at the right take; of a note on a bar's end, what the bar leaves of it."""
        axes = [axis for name, axis in self.layout.items() if name[:5] == "yaxis"]
        yield from (RIGHT_AXIS for axis in axes if axis.get("side") == "right")
        for trace in self.traces:
            if trace.get("textposition") == "outside" and trace.get("orientation") == "h":
                yield from (width_of(text, 12) for text in values(trace["text"]))
        beside = [note for note in self._notes() if note.get("xanchor") == "left"]
        for note in beside:
            wide, ref = width_of(note["text"], _size(note)) + 8, note.get("xref", "x")
            if ref == "paper":
                yield wide * (note["x"] >= 1)
            elif not isinstance(note["x"], str):
                ends = [other["x"] for other in beside if other.get("xref", "x") == ref]
                ends += list(self.layout.get(_key(ref), {}).get("range", ()))[1:]
                yield wide - (1 - note["x"] / (max(ends) or 1)) * WIDTH / 2

    def take_notes(self, boxes: Sequence[Box]) -> None:
        """Give each note that stands on the paper to a box, the nearest; below all it is the last one's."""
        for note in self._notes():
            if note.get("yref") != "paper":
                continue
            on_paper, size = note.get("xref") == "paper", _size(note)
            mine = [box for box in boxes if on_paper or note.get("xref") == box.x] or boxes
            x = note["x"] * self.width if on_paper else mine[0].was[0]
            y = (1 - note["y"]) * self.height
            last = on_paper and y >= self.height - (note.get("yanchor") == "top")
            box = boxes[-1] if last else min(mine, key=lambda one: one.far(x, y))
            if width_of(note["text"], size) > self.room / 2 and on_paper:
                note["text"] = wrapped(note["text"], 0.9 * self.room, size)
            tall = len(lines_of(note["text"])) * size * LINE - note.get("yshift", 0)
            over = box.was[1] - y + tall * (note.get("yanchor", "middle") != "top")
            under = y - box.was[3] + tall * (note.get("yanchor") == "top")
            box.above, box.below = max(box.above, over), max(box.below, under)
            self.taken.append((note, box, on_paper and not last))

    def _notes(self) -> list[Layout]:
        return self.layout.get("annotations", [])

    def take_bars(self, boxes: Sequence[Box]) -> None:
        """Give each bar of colours to the first box that it explains."""
        for trace in self.traces:
            if trace["type"] != "heatmap":
                continue
            holder = self.layout.get(trace.get("coloraxis", ""), trace)
            if not holder.get("showscale", True) or any(holder is known for known, _ in self.bars):
                continue
            self.bars.append((holder, next(box for box in boxes if box.x == trace.get("xaxis", "x"))))

    def place(self, groups: Sequence[Group]) -> None:
        """From the top down: title, then row after row, the legend above the row that it stood above."""
        title = self.layout.get("title", {})
        title["text"] = wrapped(title.get("text", ""), WIDTH - 30, 15)
        y = 20 + len(lines_of(title["text"])) * 15 * LINE
        legend = self.layout.setdefault("legend", {})
        spot = (1 - legend.get("y", 1)) * self.height if legend.get("yref") != "container" else -self.top
        above = next((g for g in groups if legend.get("yanchor") != "top" and spot <= g[0][0].was[1] + 1), None)
        rows = len(legend_rows(self.traces, self.layout, self.room)) * ROW
        for group in groups:
            if group is above:
                y += rows
                legend["y"] = y
            y = self._rows(group, y)
            bars = [holder for holder, box in self.bars if any(box in row for row in group)]
            for n, holder in enumerate(bars):
                _lie(holder, (n + 0.5) / len(bars), 0.7 / len(bars), y)
            y += BAR * bool(bars)
        if above is None:
            legend["y"], legend["yanchor"] = y, "top"
            y += rows
        legend["yref"] = "paper"
        self.layout |= {"height": y, "width": WIDTH}

    def _rows(self, group: Group, y: float) -> float:
        """Place the boxes of a group, and say where the next begins."""
        wide = group[0][0].was[2] - group[0][0].was[0]
        count = min(len(group[0]), max(1 + (wide < SMALL), int(self.room // wide)))
        share = (self.room - BETWEEN * (count - 1)) / count
        for first in range(0, len(group[0]), count):
            for row in group:
                taken = row[first : first + count]
                if first:
                    self._label(taken[0], row[0])
                y += max(box.above for box in taken) + AIR
                scale = share / wide if any(box.heatmap for box in taken) else 1.0
                tall = max(box.was[3] - box.was[1] for box in taken) * min(scale, 1.5)
                for n, box in enumerate(taken):
                    left, box.shares = n * (share + BETWEEN), count > 1
                    box.now = left, y, left + share, y + tall
                y += tall + max(box.below for box in taken)
        return y + AIR

    def _label(self, box: Box, first: Box) -> None:
        """The axis at the left of a new row, as the first of the row on a wide page has it."""
        mine, its = self.layout.setdefault(_key(box.y), {}), self.layout.get(_key(first.y), {})
        if mine.get("showticklabels", True):
            return
        for name in ("showticklabels", "title"):
            if name in its:
                mine[name] = its[name]
            else:
                mine.pop(name, None)

    def write(self, boxes: Sequence[Box]) -> None:
        """Pixels as shares of the new page."""
        tall = self.layout["height"]
        for box in boxes:
            left, top, right, bottom = box.now
            across, up = self.layout.setdefault(_key(box.x), {}), self.layout.setdefault(_key(box.y), {})
            across["domain"] = left / self.room, right / self.room
            up["domain"] = 1 - bottom / tall, 1 - top / tall
        for note, box, sideways in self.taken:
            at = note["x"] * self.width if sideways else box.was[0]
            x, y = box.follow(at, (1 - note["y"]) * self.height)
            note["y"] = 1 - y / tall
            if sideways:
                note["x"] = x / self.room
        for shape in self.layout.get("shapes", []):
            if shape.get("yref") == "paper":
                box = next((box for box in boxes if box.x == shape.get("xref", "x")), boxes[0])
                for end in ("y0", "y1"):
                    shape[end] = 1 - box.follow(0, (1 - shape[end]) * self.height)[1] / tall
        for holder, _ in self.bars:
            holder["colorbar"]["y"] = 1 - holder["colorbar"]["y"] / tall
        self.layout["legend"]["y"] = 1 - self.layout["legend"]["y"] / tall


def _grouped(boxes: Iterable[Box]) -> Iterator[Group]:
    """Rows from the top; those below one another with the same columns are one group."""
    rows = [
        sorted(row, key=lambda box: box.was[0])
        for _, row in groupby(sorted(boxes, key=lambda box: (box.was[1], box.was[0])), key=lambda box: box.was[1])
    ]
    group: Group = rows[:1]
    for before, row in pairwise(rows):
        if len(row) == 1 or _columns(before) != _columns(row):
            yield group
            group = []
        group.append(row)
    yield group


def _columns(row: Sequence[Box]) -> list[tuple[int, int]]:
    return [(round(box.was[0]), round(box.was[2])) for box in row]


def _lie(holder: Layout, x: float, length: float, y: float) -> None:
    bar = {**holder.get("colorbar", {}), "orientation": "h", "x": x, "xanchor": "center", "len": length}
    told = {**bar.get("title", {}), "side": "top"}
    holder["colorbar"] = {**bar, "y": y + 16, "yanchor": "top", "thickness": 8, "ypad": 0, "title": told}


def _follow(at: float, low: float, high: float, new_low: float, new_high: float) -> float:
    """A place between two ends keeps its share, one outside its distance."""
    if low <= at <= high:
        return new_low + (at - low) / ((high - low) or 1.0) * (new_high - new_low)
    return new_low + at - low if at < low else new_high + at - high


def _longest(trace: Layout) -> float:
    """Pixels of the longest text that is drawn in place of a mark."""
    told = values(trace.get("text")) if "text" in trace.get("mode", "") else []
    return max((width_of(text, _size(trace, "textfont")) for text in told if isinstance(text, str)), default=0.0)


def _size(told: Layout, font: str = "font") -> float:
    return float(told.get(font, {}).get("size", 12))


def _key(name: str) -> str:
    return f"{name[0]}axis{name[1:]}"
