"""A whole adapter at a glance: layers × modules as a heatmap, and beside it the layers that change most."""

from __future__ import annotations

import numpy as np

from glora_lab.drawing.picture import Picture, draw, draws
from glora_lab.drawing.theme import ending, listed, method_color, note, number, plain
from glora_lab.drawing.traces import NAMES, SIDEWAYS, Layout, bars, cells, meaning, on

from .record import XrayLayer, XrayReport

NORM, RANK = "norm", "effective rank"
STRONGEST = 10
MOST_WRITTEN = 96  # cells; with more of them only pointing at one tells its number
LEFT, RIGHT = (0.0, 0.53), (0.8, 1.0)
LONGEST_NAME = 24  # at the bars; pointing at one tells all of it
MOST_ROWS = 48  # with more of them every other has its name
TOP, FOOT, ROW, LEAST = 74, 84, 15, 270  # pixels
LETTER, ACROSS, LEVEL_FOOT = 8, 330, 40  # pixels: of a name; of all names that lie level, side by side; below those
OUTSIDE = "(apart)"  # layers that stand in no numbered block


@draws(XrayReport)
def draw_xray(report: XrayReport, values: str = NORM) -> Picture:
    """Every layer as a cell, its block down and its module across; at the right the ten with the largest norms.

    In words: the parameters, the norm of all ΔW, the layers that change most, the range of effective ranks, what each
    path adds, and what is not known.

    Args:
        report: what `xray` returns.
        values: "norm", "effective rank", or one of `report.part_names()`: that path's or block's share of the energy.

    Raises:
        ValueError: for values that the report does not have.
    """
    choices = xray_values(report)
    if values not in choices:
        raise ValueError(f"`values` (={values!r}) must be one of {', '.join(map(repr, choices))}")
    rows, columns, found = _cells(report, values)
    height, stem = max(ROW * len(rows), LEAST), report.stem()
    every = {"dtick": 1} if len(rows) <= MOST_ROWS else {}
    level = len(columns) * LETTER * max(map(len, columns), default=0) <= ACROSS
    foot = LEVEL_FOOT if level else FOOT
    return draw(
        [_heatmap(rows, columns, found, values), _bars(report)],
        _title(report),
        _in_words(report),
        height=height + TOP + foot,
        notes=[
            note(LEFT[0], 1.0, xray_heading(values), anchor=("left", "bottom")),
            note(RIGHT[0], 1.0, "largest norms of ΔW", anchor=("left", "bottom")),
        ],
        margin={"t": TOP, "b": foot, "r": 44},
        xaxis={"domain": LEFT, "anchor": "y", **NAMES, "tickangle": 0 if level else -35},
        yaxis={"anchor": "x", "autorange": "reversed", "title": stem and f"{plain(stem)}…", **NAMES, **every},
        xaxis2={"domain": RIGHT, "anchor": "y2", "rangemode": "tozero", "nticks": 4},
        yaxis2={"anchor": "x2", "autorange": "reversed", **NAMES, "dtick": 1},
    )


def _in_words(report: XrayReport) -> str:
    """What it is, where it changes most and in how many directions, what is not known."""
    of = f" of {report.base_name}" if report.base_name else ""
    first = f"{report.method}{of}: {report.params:,} parameters in {_count(len(report.rows), 'layer')}."
    return " ".join([first, _change(report), *_parts(report), *_unknown(report), *_others(report), *report.notes])


def xray_values(report: XrayReport) -> list[str]:
    """What `plot_xray` can show of a report."""
    return [NORM, RANK, *report.part_names()]


def short(report: XrayReport, layer: str) -> str:
    """A layer's name without what all blocks' names begin with."""
    return layer.removeprefix(report.stem())


def _cells(report: XrayReport, values: str) -> tuple[list[str], list[str], dict[tuple[str, str], XrayLayer]]:
    places = {row.layer: report.cell(row.layer) for row in report.rows}
    cells = {(short(report, b) or OUTSIDE, m): row for row in report.rows for b, m in [places[row.layer]]}
    return list(dict.fromkeys(b for b, _ in cells)), list(dict.fromkeys(m for _, m in cells)), cells


def _heatmap(rows: list[str], columns: list[str], found: dict[tuple[str, str], XrayLayer], values: str) -> Layout:
    z = [[_value(found.get((block, module)), values) for module in columns] for block in rows]
    share = values not in (NORM, RANK)
    written = "%{z:.0%}" if share else "%{z:.3g}" if values == NORM else "%{z:.1f}"
    most = max((value for row in z for value in row if value is not None), default=0.0)
    bar = {"x": LEFT[1] + 0.005, "xanchor": "left", **({"tickformat": ".0%"} if share else {})}
    names: Layout = {"x": [plain(module) for module in columns], "y": [plain(block) for block in rows]}
    names |= {"texttemplate": written} if len(found) <= MOST_WRITTEN else {}
    hover = f"%{{y}} %{{x}}<br>{plain(xray_heading(values))} {written}<extra></extra>"
    largest = 1 if share and len(values) == 1 else most  # of 16 blocks each has little
    path = meaning(values) if share and len(values) == 1 else {}
    return cells(z, largest, hover, bar=bar, gap=1, hoverongaps=False, **names, **path)


def _value(row: XrayLayer | None, values: str) -> float | None:
    if row is None:
        return None
    value = row.norm if values == NORM else row.effective_rank if values == RANK else row.share(values)
    return None if np.isnan(value) else value


def _bars(report: XrayReport) -> Layout:
    strongest = report.strongest(STRONGEST)
    names = [plain(ending(short(report, row.layer), LONGEST_NAME)) for row in strongest]
    names = [name + "\u200b" * n for n, name in enumerate(names)]  # each of its own
    said = {"customdata": [plain(row.layer) for row in strongest], "text": [f"{row.norm:.3g}" for row in strongest]}
    look = {"marker": {"line": {"width": 0}}, "showlegend": False, **SIDEWAYS, **on(2), **said}
    hover = "%{customdata}: norm %{x:.4g}<extra></extra>"
    return bars([row.norm for row in strongest], names, method_color(report.method), hover, **look)


def xray_heading(values: str) -> str:
    """What the cells show, in words."""
    if values in (NORM, RANK):
        return f"{values} of ΔW"
    m, _, n = values.partition(",")
    return f"share of the energy, {f'block m {m}, n {n}' if n else f'path {m}'}"


def _title(report: XrayReport) -> str:
    method = f"<b>{plain(report.method)}</b>"
    strongest = report.strongest(1)
    many = f"{method}, {number(report.params)} parameters in {_count(len(report.rows), 'layer')}"
    if not strongest or not strongest[0].norm:
        return f"{many}: no ΔW is known to differ from zero"
    return f"{many}: <b>{plain(short(report, strongest[0].layer))}</b> changes most"


def _change(report: XrayReport) -> str:
    strongest = [row for row in report.strongest(3) if row.norm]
    if not strongest:
        return "No ΔW is known to differ from zero."
    named = listed(f"{row.layer} ({row.norm:.3g})" for row in strongest)
    ranks = [row.effective_rank for row in report.rows if row.spectrum is not None and row.norm]
    directions = f" Effective ranks run from {min(ranks):.1f} to {max(ranks):.1f}." if ranks else ""
    large = sum(row.spectrum is None and not np.isnan(row.norm) for row in report.rows)
    skipped = f" In {_count(large, 'layer')} the spectrum was not asked, for the size." if large else ""
    return f"All ΔW together have the norm {report.norm:.3g}; the largest are those of {named}.{directions}{skipped}"


def _parts(report: XrayReport) -> list[str]:
    """Each path's norm over all layers, where there is more than one path."""
    paths = [path for path in "ABCDE" if any(path in row.parts for row in report.rows)]
    if len(paths) < 2:
        return []
    norms = {path: np.array([row.parts[path] for row in report.rows if path in row.parts]) for path in paths}
    known = {path: float(np.sqrt(np.nansum(n**2))) for path, n in norms.items() if not np.isnan(n).all()}
    return [f"Over all layers the paths add {listed(f'{path} {norm:.3g}' for path, norm in known.items())}."]


def _unknown(report: XrayReport) -> list[str]:
    paths = report.unknown_paths()
    if not paths:
        return []
    return [f"What {listed(paths)} may add is unknown without the base model, and not in these numbers."]


def _others(report: XrayReport) -> list[str]:
    if not report.others:
        return []
    named = f"{', '.join(report.others[:3])}{' …' if len(report.others) > 3 else ''}"
    return [f"Beside it, {_count(len(report.others), 'tensor')} trained whole: {named}."]


def _count(count: int, word: str) -> str:
    return f"{count:,} {word}{'s' if count != 1 else ''}"
