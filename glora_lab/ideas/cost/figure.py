"""What a step of training costs with one method and another: a small panel of bars for each kind of cost.

Each panel has a scale of its own, from 0, for a FLOP and a byte have nothing in common; what does compare, how many
times LoRA's a cost is, stands at each bar. Stock PEFT's methods are hatched, in the colour of the method itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from glora_lab.arguments import check_key
from glora_lab.drawing.picture import Picture, draw, draws
from glora_lab.drawing.theme import listed, method_color, note, number, plain
from glora_lab.drawing.traces import NAMES, SIDEWAYS, Layout, bars, on

from .record import Cost, CostReport

COLUMNS, BETWEEN = 3, 0.03
ROW, HEAD, TOP, FOOT = 22, 46, 64, 24  # pixels
ROOM = 1.42  # of the longest bar, for what stands at its end
LONGEST_NAME = 26


def _bytes(count: float) -> str:
    for size, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:,} bytes"


def _time(milliseconds: float) -> str:
    return f"{milliseconds:.3g} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.3g} s"


# kind of cost → its panel's heading, what it is called in a sentence, and a value in words
PANELS: dict[str, tuple[str, str, Callable[[Any], str]]] = {
    "flops": ("FLOPs of products", "FLOPs in products", number),
    "elementwise": ("values written pointwise", "values written pointwise", number),
    "saved_bytes": ("kept for backward", "kept for backward", _bytes),
    "params": ("trainable parameters", "trainable parameters", number),
    "checkpoint_bytes": ("checkpoint", "in the checkpoint", _bytes),
    "milliseconds": ("time", "of time", _time),
}


@draws(CostReport)
def draw_cost_report(report: CostReport, *, to: str | None = None) -> Picture:
    """One panel of bars per kind of cost, one bar per method, at its end its cost as a multiple of that of `to`.

    In words: every cost of `to` with its unit, those of each other method as multiples, and what was left out.

    Args:
        report: what `cost_report` returns.
        to: the name of the method that the others are compared with, whose bar says the cost itself; "LoRA" if there
            is one, else the first.

    Raises:
        ValueError: where the report has no method, or none of that name.
    """
    to = _compared_with(report, to)
    count = len(report.rows)
    lines = -(-len(PANELS) // COLUMNS)
    whole = lines * (HEAD + ROW * count)
    axes: Layout = {}
    traces, notes = [], []
    for n, kind in enumerate(PANELS):
        line, column = divmod(n, COLUMNS)
        width = (1 + BETWEEN) / COLUMNS
        left, top = column * width, 1 - line / lines
        bottom = top - ROW * count / whole
        traces.append(_bars(report, kind, to, n + 1))
        axes |= _axes(report, kind, n + 1, (left, left + width - BETWEEN), (bottom, top))
        notes.append(note(left, top, f"<b>{PANELS[kind][0]}</b>", anchor=("left", "bottom"), size=12))
    notes.append(note(0, HEAD / 2 / whole, _foot(report), anchor=("left", "top"), size=11))
    words, height = _in_words(report, to), whole + TOP + FOOT
    return draw(traces, _title(report, to), words, height=height, notes=notes, margin={"t": TOP, "b": FOOT}, **axes)


def _in_words(report: CostReport, to: str) -> str:
    """The costs of the method that the others are compared with, and their multiples of them."""
    unit, ratios = report.row(to), report.ratio(to)
    costs = listed(f"{words(getattr(unit, kind))} {says}" for kind, (_, says, words) in PANELS.items())
    others = "; ".join(
        f"{row.name} {', '.join(_multiple(row, kind, ratios[row.name][kind]) for kind in PANELS)}"
        for row in report.rows
        if row.name != to
    )
    multiples = f" As multiples of these, in that order: {others}." if others else ""
    absent = "".join(f" {name} does not fit: {reason.rstrip('.')}." for name, reason in report.left_out.items())
    return f"A step of {report.model or 'the model'} with {to} ({_where(report)}): {costs}.{multiples}{absent}"


def _compared_with(report: CostReport, to: str | None) -> str:
    if not report.rows:
        raise ValueError("`report` (=CostReport) must have at least one method")
    if to is None:
        return "LoRA" if "LoRA" in report.names else report.names[0]
    check_key("to", to, report.names, "must be one of")
    return to


def _where(report: CostReport) -> str:
    threads = f"{report.threads} thread{'s' if report.threads > 1 else ''}"
    return f"{report.device}, {threads}, median of {report.repeats}"


def _foot(report: CostReport) -> str:
    frozen = [row.name for row in report.rows if row.method == "frozen"]
    forward = f"{plain(listed(frozen))}: the forward pass alone. " if frozen else ""
    absent = f"Not on this model: {plain(listed(report.left_out))}. " if report.left_out else ""
    return f"{forward}{absent}Time: {plain(_where(report))}."


def _title(report: CostReport, to: str) -> str:
    """The method with the most FLOPs, and what it has of each of the two costs that decide."""
    model = f" on {plain(report.model)}" if report.model else ""
    others = [row for row in report.rows if row.name != to and row.method != "frozen"]
    unit = report.row(to)
    if not others or not unit.flops or not unit.saved_bytes:
        return f"<b>{plain(to)}</b>{model}: {number(unit.flops)} FLOPs a step, {_bytes(unit.saved_bytes)} kept"
    most = max(others, key=lambda row: row.flops)
    flops, saved = (report.ratio(to)[most.name][kind] for kind in ("flops", "saved_bytes"))
    return (
        f"<b>{plain(most.name)}</b>{model}: {_times(flops)} the FLOPs of {plain(to)}, {_times(saved)} its memory for "
        "backward"
    )


def _bars(report: CostReport, kind: str, to: str, n: int) -> Layout:
    ratios, words, rows = report.ratio(to), PANELS[kind][2], report.rows
    values = [getattr(row, kind) for row in rows]
    said = [words(value) for value in values]
    text = [
        f"<b>{value}</b>" if row.name == to else _multiple(row, kind, ratios[row.name][kind])
        for row, value in zip(rows, said, strict=True)
    ]
    hatched = ["/" if row.method.startswith("stock ") else "" for row in rows]
    marker = {"line": {"width": 0}, "pattern": {"shape": hatched, "size": 6, "solidity": 0.45}}
    names: Layout = {"customdata": [[plain(row.name), value] for row, value in zip(rows, said, strict=True)]}
    names |= {"name": PANELS[kind][0], "text": text, "showlegend": False}
    hover, colors = "%{customdata[0]}: %{customdata[1]}<extra></extra>", [method_color(row.method) for row in rows]
    return bars(values, list(range(len(values))), colors, hover, marker=marker, **SIDEWAYS, **names, **on(n))


def _multiple(row: Cost, kind: str, ratio: float) -> str:
    """How many times it is, or the value itself where what it is compared with is 0."""
    return _times(ratio) if math.isfinite(ratio) else PANELS[kind][2](getattr(row, kind))


def _times(ratio: float) -> str:
    if not ratio:
        return "0"
    return f"{ratio:.2f}×" if ratio < 10 else f"{ratio:,.0f}×"


def _axes(report: CostReport, kind: str, n: int, x: tuple[float, float], y: tuple[float, float]) -> Layout:
    count = len(report.rows)
    longest = max(getattr(row, kind) for row in report.rows) or 1
    bare = {"showgrid": False, "ticks": "", "showticklabels": False}
    off = {"showgrid": False, "tickcolor": NAMES["tickcolor"]}
    names = [plain(_short(row.name)) for row in report.rows]
    ticks = {"tickmode": "array", "tickvals": list(range(count)), "ticktext": names, "showticklabels": x[0] == 0}
    return {
        f"xaxis{n}": {"domain": x, "anchor": f"y{n}", "range": (0, ROOM * longest), **bare},
        f"yaxis{n}": {"domain": y, "anchor": f"x{n}", "range": (count - 0.5, -0.5), **off, **ticks},
    }


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
