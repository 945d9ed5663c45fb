"""Axes: which values they span, where on the picture a value is, and their lines, ticks and titles.

What plotly's script works out in the page is worked out here as far as the library's figures need it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .values import number, values
from .words import width_of, written

BETWEEN_TICKS = {"x": 80, "y": 40}  # pixels, about
FEWEST, MOST = 5, 10  # ticks
MARGIN = 0.055  # of an axis, beside points


@dataclass
class Axis:
    """One axis, x or y: `low` to `high`, in its own units (exponents on a log axis), are at `start` to `end`."""

    name: str
    spec: dict[str, Any]
    traces: list[dict[str, Any]]
    marked: list[Any] = field(default_factory=list)  # values that are drawn over it, which it spans too
    start: float = 0.0
    end: float = 1.0
    categories: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.letter = self.name[0]
        self.log, self.right = self.spec.get("type") == "log", self.spec.get("side") == "right"
        words = any(isinstance(v, str) for trace in self.traces for v in values(trace.get(self.letter)))
        if self.spec.get("type") == "category" or (words and "type" not in self.spec):
            given = values(self.spec.get("categoryarray"))
            held = [v for trace in self.traces for v in values(trace.get(self.letter))]
            self.categories = list(dict.fromkeys([*given, *held]))
        self.low, self.high = self._range()

    def unit(self, value: Any) -> float:
        """A value in the axis's own units."""
        if isinstance(value, str):  # a category; of one that no trace has, plotly makes another
            return float(self.categories.index(value) if value in self.categories else len(self.categories))
        if self.log:
            return math.log10(value) if value > 0 else -math.inf
        return float(value)

    def at(self, unit: float) -> float:
        span = self.high - self.low or 1.0
        return self.start + (unit - self.low) / span * (self.end - self.start)

    def place(self, value: Any) -> float:
        """Where a value is, in pixels."""
        return self.at(self.unit(value))

    def _range(self) -> tuple[float, float]:
        given = values(self.spec.get("range"))
        if given and None not in given:
            return float(given[0]), float(given[1])
        spans = [span for trace in self.traces for span in self._spanned(trace)]
        spans += [(self.unit(value), self.unit(value)) for value in self.marked]
        low, high = min((a for a, _ in spans), default=0.0), max((b for _, b in spans), default=1.0)
        if low == high:
            low, high = (0.0, 1.0) if not low and any("ends" in trace for trace in self.traces) else (low - 1, high + 1)
        if self.spec.get("rangemode") == "tozero" and not self.log:
            low, high = min(low, 0.0), max(high, 0.0)
        return (high, low) if self.spec.get("autorange") == "reversed" else (low, high)

    def _spanned(self, trace: dict[str, Any]) -> Iterator[tuple[float, float]]:
        """What the trace needs of this axis, with the air that plotly leaves around it."""
        along = (trace.get("orientation", "v") == "v") == (self.letter == "x")  # where bars stand side by side
        found = [u for u in map(self.unit, _told(trace, self.letter)) if math.isfinite(u)]
        if trace["type"] == "heatmap":
            step = float(trace.get(f"d{self.letter}", 1))
            if not found:
                first, count = float(trace.get(f"{self.letter}0", 0)), _cells(trace, self.letter)
                found = [first + step * n for n in range(count)]
            yield from ((u - step / 2, u + step / 2) for u in found)
        elif trace["type"] == "bar" and along:
            yield from ((u - 0.5, u + 0.5) for u in found)
        elif found:
            low, high = min(found), max(found)
            if trace["type"] == "bar":
                low, high = min(low, *trace["ends"], 0.0), max(high, *trace["ends"], 0.0)
            air = MARGIN * (high - low)
            marked = "markers" in trace.get("mode", "") or self.letter == "y"
            if self.categories:
                yield low - 0.5, high + 0.5
            elif trace["type"] == "bar":
                yield low - air * (low < 0), high + air * (high > 0)
            else:
                yield (low - air, high + air) if marked else (low, high)

    def ticks(self) -> list[tuple[float, str]]:
        """(unit, text) of each tick within the range."""
        low, high = sorted((self.low, self.high))
        found = [(self.unit(v), t) for v, t in self._all_ticks(low, high)]
        return [(u, text) for u, text in found if low - 1e-9 <= u <= high + 1e-9]

    def _all_ticks(self, low: float, high: float) -> list[tuple[Any, str]]:
        form = self.spec.get("tickformat", "")
        if "tickvals" in self.spec:
            told = values(self.spec["tickvals"])
            texts = self.spec.get("ticktext")
            return list(zip(told, values(texts) if texts else [number(v, form) for v in told], strict=False))
        if self.categories:
            return [(category, str(category)) for category in self.categories]
        if self.log:
            return self._powers(low, high)
        step = self.spec.get("dtick") or self._step(high - low)
        first = float(self.spec.get("tick0", 0)) if self.spec.get("dtick") else 0.0
        many = range(math.ceil((low - first) / step - 1e-9), math.floor((high - first) / step + 1e-9) + 1)
        skip = max(1, math.ceil(len(many) * 14 / (abs(self.end - self.start) or 1)))
        return [(first + n * step, number(round(first + n * step, 10), form)) for n in list(many)[::skip]]

    def _powers(self, low: float, high: float) -> list[tuple[Any, str]]:
        powers = range(math.floor(low), math.ceil(high) + 1)
        every = max(1, round(len(powers) * BETWEEN_TICKS[self.letter] / 2 / (abs(self.end - self.start) or 1)))
        digits = (1,) if high - low > 1.5 or "dtick" in self.spec else (1, 2, 5)
        if self.spec.get("exponentformat") == "power" and digits == (1,):
            texts = {n: number(10.0**n) if n in (0, 1) else f"10<sup>{n}</sup>".replace("-", "−") for n in powers}
            return [(10.0**n, text) for n, text in texts.items() if n % every == 0]
        return [(d * 10.0**n, number(d * 10.0**n)) for n in powers if n % every == 0 for d in digits]

    def _step(self, span: float) -> float:
        fits = abs(self.end - self.start) / BETWEEN_TICKS[self.letter] + 1
        rough = span / (self.spec.get("nticks") or min(max(fits, FEWEST), MOST)) or 1.0
        power = 10.0 ** math.floor(math.log10(rough))
        return float(next((n for n in (2, 5, 10) if n * power >= rough), 10) * power)

    def words_beside(self) -> float:
        """How much room its ticks' texts take, in pixels."""
        if not self.spec.get("showticklabels", True) or not self.spec.get("visible", True):
            return 0.0
        size = self.spec.get("tickfont", {}).get("size", 11)
        return max((width_of(text, size) for _, text in self.ticks()), default=0.0)

    def ruled(self, across: Axis) -> Iterator[str]:
        """What lies under the traces, grid and zero; `across` is the axis that it stands on."""
        if not self.spec.get("visible", True):
            return
        low, high = sorted((self.low, self.high))
        if grid := self.spec.get("showgrid", True):
            yield from (
                self._line(self.at(u), across.start, across.end, self.spec["gridcolor"], 1) for u, _ in self.ticks()
            )
        if self.spec.get("zeroline", grid) and not self.log and not self.categories and low <= 0 <= high:
            yield self._line(self.at(0.0), across.start, across.end, self.spec["zerolinecolor"], 1)

    def drawn(self, across: Axis, font: dict[str, Any]) -> Iterator[str]:
        """What lies over them: lines, ticks, texts and title."""
        if not self.spec.get("visible", True):
            return
        ticks = self.ticks()
        far, near = sorted((across.start, across.end), reverse=self.letter == "y" and not self.right)
        if self.spec.get("showline"):
            sides = (near, far) if self.spec.get("mirror") else (near,)
            color, width = self.spec["linecolor"], self.spec.get("linewidth", 1)
            yield from (across._line(side, self.start, self.end, color, width) for side in sides)
        out = 4 if self.letter == "x" or self.right else -4
        if self.spec.get("ticks"):
            yield from (self._line(self.at(u), near, near + out, self.spec["tickcolor"], 1) for u, _ in ticks)
        yield from self._written(ticks, near + out * 1.5, {**font, **self.spec.get("tickfont", {})})
        yield from self._titled(near, {**font, **self.spec["title"].get("font", {})})

    def _written(self, ticks: list[tuple[float, str]], beside: float, font: dict[str, Any]) -> Iterator[str]:
        if not self.spec.get("showticklabels", True):
            return
        turn = self.spec.get("tickangle", 0)
        free = self.letter == "y" or turn or self.categories
        for unit, text in ticks if free else self.apart(ticks, font["size"]):
            if self.letter == "y":
                yield written(beside, self.at(unit), text, font, ("left" if self.right else "right", "middle"))
            else:
                yield written(self.at(unit), beside, text, font, ("right" if turn else "center", "top"), turn)

    def apart(self, ticks: list[tuple[float, str]], size: float) -> Iterator[tuple[float, str]]:
        """Of texts beside one another those that run into none before."""
        taken = -math.inf
        for unit, text in ticks:
            half = width_of(text, size) / 2
            if self.at(unit) - half >= taken:
                taken = self.at(unit) + half + 6
                yield unit, text

    def _titled(self, near: float, font: dict[str, Any]) -> Iterator[str]:
        text = self.spec["title"].get("text", "")
        middle, ticks = (self.start + self.end) / 2, self.words_beside()
        if text and self.letter == "x":
            slope = ticks * math.sin(math.radians(-self.spec.get("tickangle", 0))) if ticks else 0.0
            yield written(middle, near + (10 + 14 * bool(ticks) + slope), text, font, ("center", "top"))
        elif text:
            out, side = (1, "top") if self.right else (-1, "bottom")
            yield written(near + out * (12 + ticks), middle, text, font, ("center", side), -90)

    def _line(self, place: float, a: float, b: float, color: str, width: float) -> str:
        ends = (place, a, place, b) if self.letter == "x" else (a, place, b, place)
        x1, y1, x2, y2 = (f"{end:.1f}" for end in ends)
        return f'<path d="M{x1} {y1}L{x2} {y2}" stroke="{color}" stroke-width="{width:g}"/>'


def _told(trace: dict[str, Any], letter: str) -> list[Any]:
    return [value for value in values(trace.get(letter)) if value is not None]


def _cells(trace: dict[str, Any], letter: str) -> int:
    rows, columns = trace["z"].shape
    return int(rows if letter == "y" else columns)
