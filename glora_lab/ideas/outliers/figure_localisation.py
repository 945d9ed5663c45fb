"""Whether what an outlier spoils stays in its block: the share of channels that are off, over k and beside what G's
columns let one expect.

On the left means over the layers, one line a control, with crosses for what was expected and a dotted line for a share
that falls as 1/k. On the right every layer and k by itself: on the diagonal, what was expected is what came.
"""

from __future__ import annotations

from glora_lab.drawing.picture import Picture, draw, draws
from glora_lab.drawing.theme import FROZEN, METHOD_COLORS, PATH_COLORS, TEXT, ending, listed, note, plain, small
from glora_lab.drawing.traces import Layout, line, on

from .record_localisation import Localisation

LEFT, RIGHT = (0.0, 0.46), (0.58, 1.0)
COLORS = (METHOD_COLORS["GraLoRA"], PATH_COLORS["C"], METHOD_COLORS["GLoRA"], PATH_COLORS["B"], FROZEN)
DIAGONAL: Layout = {"type": "line", "line": {"color": FROZEN, "width": 1.5, "dash": "dot"}, "xref": "x2", "yref": "y2"}
SHARE: Layout = {"tickformat": ".0%", "range": (-0.03, 1.03)}


@draws(Localisation)
def draw_localisation(found: Localisation, r: int | None = None) -> Picture:
    """Share of channels off over k for each control, and the same beside what was expected, at rank `r`.

    In words: the shares for each control and k, those that were expected, and the error in the strongest channel's
    block as a multiple of LoRA's.

    Args:
        found: what `localisation` returns.
        r: one of the record's ranks, None for its largest.

    Raises:
        ValueError: for a rank that it does not have.
    """
    rank = max(found.ranks) if r is None else r
    if rank not in found.ranks:
        raise ValueError(f"`r` (={r!r}) must be one of: {', '.join(map(str, found.ranks))}")
    colors = dict(zip(found.controls, COLORS, strict=False))
    traces = [trace for control in found.controls for trace in _means(found, control, rank, colors[control])]
    traces += [_points(found, control, rank, colors[control]) for control in found.controls]
    headings = (f"mean of {len({row.layer for row in found.layers})} layers, r = {rank}", "each layer and k")
    return draw(
        traces,
        _title(found, rank),
        _in_words(found, rank),
        height=440,
        notes=[
            note(place[0], 1.0, text, TEXT, size=12, anchor=("left", "bottom"))
            for place, text in zip((LEFT, RIGHT), headings, strict=True)
        ],
        shapes=[{**DIAGONAL, "x0": 0, "x1": 1, "y0": 0, "y1": 1}],
        margin={"t": 96, "b": 96},
        legend={"y": -0.2, "yanchor": "top"},
        xaxis={"domain": LEFT, "anchor": "y", "title": "k, blocks a side", "type": "log", "tickvals": list(found.ks)},
        yaxis={"anchor": "x", "title": "channels that are off", **SHARE},
        xaxis2={"domain": RIGHT, "anchor": "y2", "title": "expected", **SHARE},
        yaxis2={"anchor": "x2", "title": "found", **SHARE},
    )


def _means(found: Localisation, control: str, r: int, color: str) -> list[Layout]:
    """What was found, with crosses for what was expected, and a share that falls as 1/k from the same start."""
    shares, expected = ([found.share(control, r, k, expected=e) for k in found.ks] for e in (False, True))
    name = f"{control}: k %{{x}}: %{{y:.1%}}<extra></extra>"
    lines = line(list(found.ks), shares, control, color, name, legendgroup=control, **on(1))
    crosses = line(list(found.ks), expected, control, color, f"expected, {name}", legendgroup=control, **on(1))
    mark: Layout = {"mode": "markers", "marker": {"symbol": "x-thin", "size": 9, "line": {"color": color, "width": 2}}}
    ideal = line(
        list(found.ks), [shares[0] / k for k in found.ks], control, color, f"1/k of {control}<extra></extra>",
        dash="dot", width=1, legendgroup=control, showlegend=False, **on(1),
    )  # fmt: skip
    return [lines, {**crosses, **mark, "showlegend": False}, ideal]


def _points(found: Localisation, control: str, r: int, color: str) -> Layout:
    rows = found.of(control, r)
    return {
        "type": "scatter",
        "mode": "markers",
        "marker": {"color": color, "size": 5, "opacity": 0.7},
        "x": [row.expected for row in rows],
        "y": [row.off for row in rows],
        "text": [f"{plain(ending(row.layer, 36))}, k = {row.k}" for row in rows],
        "hovertemplate": f"{control}: %{{text}}<br>expected %{{x:.1%}}, found %{{y:.1%}}<extra></extra>",
        "legendgroup": control,
        "showlegend": False,
        **on(2),
    }


def _title(found: Localisation, r: int) -> str:
    first, most = found.controls[0], max(found.ks)
    shares = [f"{found.share(first, r, k):.0%}" for k in (1, most)]
    head = f"Layers {first}: {shares[0]} of the channels are off with LoRA, {shares[1]} with k = {most}"
    misses = max(found.miss(control, r) for control in found.controls)
    says = f"expected from the sizes of G's columns alone: right within {100 * misses:.1f} points on average, or less"
    return f"{head}<br>{small(says, 13)}"


def _in_words(found: Localisation, r: int) -> str:
    def told(control: str) -> str:
        shares = " / ".join(f"{found.share(control, r, k):.2f}" for k in found.ks)
        expected = " / ".join(f"{found.share(control, r, k, expected=True):.2f}" for k in found.ks)
        return f"{control} {shares} (expected {expected})"

    ks = listed(map(str, found.ks))
    price = ", ".join(f"{found.price(found.controls[0], r, k):.2f}" for k in found.ks[1:])
    return (
        f"Share of channels that are off at rank {r} for k = {ks}, means over the layers: "
        f"{'; '.join(map(told, found.controls))}. In the strongest channel's block the error is {price} times LoRA's "
        f"for k = {listed(map(str, found.ks[1:]))}."
    )
