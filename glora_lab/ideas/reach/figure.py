"""How near each grid of blocks comes to a change of W: one line a change, its error over k, all at equal parameters.

A line that falls is a change to which blocks come closer than LoRA, one that rises is LoRA's, and a level one is a tie;
its colour says which. A ring is what training reached.
"""

from __future__ import annotations

from collections import Counter
from math import log10

import numpy as np

from glora_lab.arguments import check_key
from glora_lab.drawing.picture import Picture, draw, draws
from glora_lab.drawing.theme import FROZEN, METHOD_COLORS, TEXT, ending, listed, note, plain, small
from glora_lab.drawing.traces import Layout, beside, line

from .record import RankReach

TIE, LORA, BLOCKS = "a tie", "LoRA comes closest", "blocks come closest"
COLORS = {LORA: METHOD_COLORS["LoRA"], BLOCKS: METHOD_COLORS["GraLoRA"], TIE: FROZEN}
MOST_NAMED = 6  # lines with their name beside them; of more only pointing tells it
LETTERS = 20  # of a name beside its line
APART = 0.06  # of the scale, from name to name
CLEAR = 0.12  # of the scale, that a number needs between its line and the next
HEIGHT = 420
ERRORS = {"range": (-0.1, 1.06), "dtick": 0.25, "tickformat": ".2f"}
RIGHT = {"side": "right"}


@draws(RankReach)
def draw_rank_reach(reach: RankReach, chosen: str | None = None) -> Picture:
    """The relative error of the best ΔW (0 to 1) over k (1 is LoRA), for each change; means over its draws.

    In words: the errors of each change, which k comes closest, and how far training stayed above where it was tried.

    Args:
        reach: what `rank_reach` returns.
        chosen: the change that the picture is about: its line is broad, and has its numbers.
    """
    if chosen is not None:
        check_key("chosen", chosen, reach.names, "must be one of")
    shown = set()
    traces = []
    for name in reach.names:
        kind = _kind(reach, name)
        traces.append(_line(reach, name, kind, chosen) | {"showlegend": kind not in shown})
        shown.add(kind)
    rings = [_rings(reach, name) | {"showlegend": n == 0} for n, name in enumerate(_trained(reach))]
    named, left = 0 < len(reach.names) <= MOST_NAMED, _named_at_the_left(reach)
    return draw(
        [*traces, *rings],
        f"{_finding(reach, chosen)}<br>{small(_below(reach), 12)}",
        _in_words(reach),
        height=HEIGHT,
        notes=_names(reach, chosen, left=left) if named else [],
        margin={"t": 100, "b": 48, **({"l": 140, "r": 64} if named and left else {"r": 140 if named else 16})},
        showlegend=True,
        legend={"y": 1.0},
        xaxis=_across(reach),
        yaxis={"title": "relative error", **(RIGHT if named and left else {}), **ERRORS},
    )


def _in_words(reach: RankReach) -> str:
    """The figure in words."""
    if not reach.rows:
        return "No change was asked for."
    ks = listed(map(str, reach.ks))
    gap = reach.training_gap
    reached = "" if gap is None else f" Training came within {gap:.1g} of all of them."
    if len(reach.names) > MOST_NAMED:
        return f"Least relative error at equal parameters {_many(reach)}.{reached}"
    lines = []
    for name in reach.names:
        errors = " / ".join(f"{error:.2f}" for error in reach.errors(name).values())
        lines.append(f"{name} {errors} ({_verdict(reach, name)})")
    return f"Least relative error at equal parameters for k = {ks}: {'; '.join(lines)}.{reached}"


def _many(reach: RankReach) -> str:
    """Of more changes than can be told one by one: from which error to which, and how often what comes closest."""
    found = [reach.errors(name) for name in reach.names]
    spans = (f"{min(e[k] for e in found):.2f} to {max(e[k] for e in found):.2f} for k = {k}" for k in reach.ks)
    verdicts = Counter(_verdict(reach, name) for name in reach.names)
    closest = listed(
        f"{verdict} {'once' if count == 1 else f'{count} times'}" for verdict, count in verdicts.most_common()
    )
    return f"of {len(found)} changes: {listed(spans)}; {closest}"


def _finding(reach: RankReach, chosen: str | None) -> str:
    """Of the chosen change, or of all."""
    if not reach.names:
        return "No change was asked for"
    if chosen is not None or len(reach.names) == 1:
        name = chosen or reach.names[0]
        return (
            f"<b>{plain(ending(name, 28))}</b>: {_verdict(reach, name)}, error {min(reach.errors(name).values()):.2f}"
        )
    kinds = [_kind(reach, name) for name in reach.names]
    lora, blocks, ties = (kinds.count(kind) for kind in (LORA, BLOCKS, TIE))
    if lora == len(kinds):
        return f"LoRA (k = 1) comes closest to all {lora} changes"
    return (
        f"More rank: {blocks} win{'s' * (blocks != 1)}, {lora} loss{'es' * (lora != 1)}, {ties} tie{'s' * (ties != 1)}"
    )


def _below(reach: RankReach) -> str:
    ranks = listed(map(str, sorted({row.r for row in reach.rows}))) if reach.rows else ""
    return f"the best ΔW with the parameters of LoRA of rank {ranks}, for k×k blocks" if ranks else ""


def _kind(reach: RankReach, name: str) -> str:
    best = reach.best(name)
    return TIE if best is None else LORA if best == 1 else BLOCKS


def _verdict(reach: RankReach, name: str) -> str:
    best = reach.best(name)
    return TIE if best is None else LORA if best == 1 else f"k = {best} comes closest"


def _line(reach: RankReach, name: str, kind: str, chosen: str | None) -> Layout:
    errors, ranks = reach.errors(name), reach.ranks(name)
    ks, values = list(errors), list(errors.values())
    hover = "k = %{x}: error %{y:.3f}<br>ΔW of rank %{customdata}" + beside(name)
    drawn = line(ks, values, kind, COLORS[kind], hover, width=5 if name == chosen else 2)
    look: Layout = {"mode": "lines+markers", "marker": {"size": 11 if name == chosen else 7}, "cliponaxis": False}
    if name == chosen:
        look |= {"mode": "lines+markers+text", "text": [f"{value:.2f}" for value in values]}
        look["textposition"] = [f"{_clear_side(reach, name, k)} center" for k in ks]
        look["textfont"] = {"size": 14}
    return {**drawn, **look, "customdata": [ranks[k] for k in ks], "legendgroup": kind}


def _clear_side(reach: RankReach, name: str, k: int) -> str:
    """Where a number at this place of a line is read best: below its lowest point, and where no other line is near."""
    errors = reach.errors(name)
    gaps = [reach.errors(other)[k] - errors[k] for other in reach.names if other != name]
    room = {
        "top": min((gap for gap in gaps if gap >= 0), default=1.0),
        "bottom": min((-gap for gap in gaps if gap < 0), default=1.0),
    }
    lowest = round(errors[k], 2) == round(min(errors.values()), 2) < round(max(errors.values()), 2)
    first, second = ("bottom", "top") if lowest else ("top", "bottom")
    return first if room[first] >= min(room[second], CLEAR) else second


def _trained(reach: RankReach) -> list[str]:
    return [name for name in reach.names if reach.trained(name)]


def _rings(reach: RankReach, name: str) -> Layout:
    trained = reach.trained(name)
    return {
        "type": "scatter",
        "x": list(trained),
        "y": list(trained.values()),
        "mode": "markers",
        "marker": {"symbol": "circle-open", "size": 15, "color": TEXT, "line": {"width": 1.5}},
        "name": "reached by training",
        "legendgroup": "trained",
        "hovertemplate": "k = %{x}: trained to %{y:.3f}" + beside(name),
    }


def _named_at_the_left(reach: RankReach) -> bool:
    """Whether the lines are further apart where they begin than where they end, as a name needs to be told."""
    begin, end = (sorted(list(reach.errors(name).values())[at] for name in reach.names) for at in (0, -1))
    return min(np.diff(begin), default=0.0) > min(np.diff(end), default=0.0)


def _names(reach: RankReach, chosen: str | None, *, left: bool) -> list[Layout]:
    """Each line's name at one end; where ends lie close together the names make room for one another."""
    ends = sorted((list(reach.errors(name).values())[0 if left else -1], name) for name in reach.names)
    places: list[float] = []
    for end, _ in ends:
        places.append(max(end, places[-1] + APART) if places else end)
    beyond = max(0.0, places[-1] - 1.04)
    notes = []
    for (_, name), at in zip(ends, places, strict=True):
        text = plain(ending(name, LETTERS))
        text = f"<b>{text}</b>" if name == chosen else text
        place = {"yref": "y", "y": at - beyond, "xshift": -12 if left else 12}
        anchor = ("right", "middle") if left else ("left", "middle")
        notes.append(note(0.0 if left else 1.0, 0.0, text, TEXT, size=12, anchor=anchor) | place)
    return notes


def _across(reach: RankReach) -> Layout:
    ks = reach.ks or [1]
    room = 0.08 * log10(ks[-1] / ks[0]) or 0.1
    shown: Layout = {"type": "log", "tickvals": ks, "ticktext": [str(k) for k in ks], "showgrid": False}
    return {**shown, "range": (log10(ks[0]) - room, log10(ks[-1]) + room), "title": "k, blocks per side (1 is LoRA)"}
