"""One block of ΔW as the product that it is: B_mn at the left, A_mnᵀ above, the block where they meet; and its
spectrum beside it.

Each of the three matrices has its own scale, written beside its name: B starts at zero and A does not, and on one
scale a young adapter's B would not be seen.
"""

from __future__ import annotations

import numpy as np

from glora_lab.drawing.picture import Picture, draw, draws
from glora_lab.drawing.theme import DIVERGING, FROZEN, IN_AXIS, METHOD_COLORS, OUT_AXIS, ending, note, plain, small
from glora_lab.drawing.traces import BOX, Layout, heatmap, largest, meaning, on

from .record import BlockDetail

MOST_CELLS = 256  # per side; a larger block is thinned out, and says so
COLUMNS = {"B": (0.0, 0.13), "block": (0.21, 0.62), "spectrum": (0.74, 1.0)}
ROWS = {"A": (0.78, 1.0), "block": (0.0, 0.62)}
SPECTRUM_ROW = (0.0, 0.92)
LETTERS = 26  # of a layer's name


@draws(BlockDetail)
def draw_block_detail(detail: BlockDetail) -> Picture:
    """B_mn (o, s), A_mnᵀ (s, i), their product (o, i) with the channels' own numbers, and the singular values.

    In words: which channels the block reads and writes, its rank, norm and share of the energy, and its first eight
    singular values.

    Args:
        detail: what `block_detail` returns.
    """
    panels = _panels(detail)
    axes: Layout = {
        "xaxis4": {"domain": COLUMNS["spectrum"], "anchor": "y4", "title": _in_order(detail), "dtick": 1},
        "yaxis4": {"domain": SPECTRUM_ROW, "anchor": "x4", "rangemode": "tozero"},
    }
    for axis, panel in enumerate(panels, start=1):
        axes |= _matrix_axes(axis, panel)
    return draw(
        [*(_heatmap(axis, panel) for axis, panel in enumerate(panels, start=1)), _spectrum(detail)],
        _title(detail),
        _in_words(detail),
        height=420 if detail.hybrid_r else 396,
        notes=_notes(detail, panels),
        shapes=_general_line(detail),
        showlegend=False,
        margin={"t": 78, "b": 84 if detail.hybrid_r else 60, "r": 20},
        **axes,
    )


def _in_words(detail: BlockDetail) -> str:
    """The figure in words."""
    where = f"Layer {detail.layer}, block m {detail.m}, n {detail.n}: {_channels(detail)}"
    if not detail.norm:
        return f"{where}; it is zero, nothing has changed yet."
    values = ", ".join(f"{value:.2g}" for value in detail.singular_values[:8])
    more = ", …" if len(detail.singular_values) > 8 else ""
    general = f"; {_general(detail)}" if detail.hybrid_r else ""
    others = f"; {_others(detail)}" if _others(detail) else ""
    return f"{where}; {_size(detail)}{general}. Singular values: {values}{more}{others}."


def _panels(detail: BlockDetail) -> list[Layout]:
    """B, Aᵀ and the block: values, what their axes count, and where they lie."""
    writes, reads, columns = detail.writes, detail.reads, range(detail.B.shape[1])
    block = "ΔW<sub>mn</sub>" if detail.scaling == 1 else f"ΔW<sub>mn</sub> = {detail.scaling:.3g} · B Aᵀ"
    both = meaning(x="i", y="o")
    return [
        {
            "name": "B<sub>mn</sub>",
            "values": detail.B,
            "y": writes,
            "x": columns,
            "at": ("B", "block"),
            "means": meaning(y="o"),
        },
        {
            "name": "A<sub>mn</sub>ᵀ",
            "values": detail.A.T,
            "y": columns,
            "x": reads,
            "at": ("block", "A"),
            "means": meaning(x="i"),
        },
        {"name": block, "values": detail.block, "y": writes, "x": reads, "at": ("block", "block"), "means": both},
    ]


def _heatmap(axis: int, panel: Layout) -> Layout:
    values, (down, right) = panel["values"], _steps(panel["values"])
    limit = largest(values) or 1.0
    z = np.where(values.any(), values, np.nan)[::down, ::right].astype(np.float32)  # all zero is drawn empty
    channels = {"x": list(panel["x"][::right]), "y": list(panel["y"][::down])}
    colors = {"colorscale": DIVERGING, "zmin": -limit, "zmax": limit, "zmid": 0, "showscale": False}
    hover = f"%{{y}}, %{{x}}<br>%{{z:.4g}}<extra>{panel['name']}</extra>"
    return heatmap(z, hover, **channels, **colors, name=panel["name"], **on(axis), **panel["means"])


def _matrix_axes(axis: int, panel: Layout) -> Layout:
    """Rows count downwards; the channels keep their numbers in the whole layer."""
    column, row = panel["at"]
    x, y = panel["x"], panel["y"]
    box = {**BOX, "tickformat": "d"}
    across = {"domain": COLUMNS[column], "anchor": f"y{axis}", "range": (x[0] - 0.5, x[-1] + 0.5), **box}
    down = {"domain": ROWS[row], "anchor": f"x{axis}", "range": (y[-1] + 0.5, y[0] - 0.5), **box}
    if panel["at"] == ("B", "block"):
        across |= {"title": "s", "dtick": _whole_ticks(x), "tick0": 0}
        down["title"] = {"text": OUT_AXIS}
    elif panel["at"] == ("block", "A"):
        down |= {"title": "s", "dtick": _whole_ticks(y), "tick0": 0}
        across["showticklabels"] = False
    else:
        across["title"] = {"text": IN_AXIS}
        down["showticklabels"] = False
    return {f"xaxis{axis}": across, f"yaxis{axis}": down}


def _whole_ticks(axis: range) -> int:
    return max(1, len(axis) // 4)


def _spectrum(detail: BlockDetail) -> Layout:
    count, color = len(detail.singular_values), METHOD_COLORS["LoRA" if detail.k == 1 else "GraLoRA"]
    look = {"marker": {"color": color}, "width": [min(0.8, 0.2 * count)] * count, "name": "spectrum", **on(4)}
    values = {"x": list(range(1, count + 1)), "y": detail.singular_values.astype(np.float32)}
    return {"type": "bar", **values, "hovertemplate": "%{x}: %{y:.4g}<extra></extra>", **look}


def _notes(detail: BlockDetail, panels: list[Layout]) -> list[Layout]:
    notes = []
    for panel in panels:
        column, row = COLUMNS[panel["at"][0]], ROWS[panel["at"][1]]
        down, right = _steps(panel["values"])
        limit, thinned = largest(panel["values"]), f", 1 in {max(down, right)} drawn" if max(down, right) > 1 else ""
        says = f"±{limit:.2g}{thinned}" if limit else "still zero"
        text = f"<b>{panel['name']}</b> {small(says)}"
        notes.append(note(column[0], row[1], text, anchor=("left", "bottom")))
        if not limit:
            notes.append(note(sum(column) / 2, sum(row) / 2, "zero", anchor=("center", "middle")))
    if detail.hybrid_r:
        notes.append(note(0.0, -0.2, _beyond(detail), anchor=("left", "top"), size=12))
    notes.append(note(COLUMNS["spectrum"][0], SPECTRUM_ROW[1], "<b>spectrum</b>", anchor=("left", "bottom")))
    return notes


def _in_order(detail: BlockDetail) -> str:
    others = _others(detail)
    return f"singular values, in order{f'<br>({others})' if others else ''}"


def _general_line(detail: BlockDetail) -> list[Layout]:
    """Between the block's own columns and those of a hybrid's LoRA, in both factors."""
    if not detail.hybrid_r:
        return []
    at, line = detail.B.shape[1] - detail.hybrid_r - 0.5, {"color": FROZEN, "width": 2, "dash": "dot"}
    in_b = {"x0": at, "x1": at, "xref": "x", "y0": 0, "y1": 1, "yref": "y domain"}
    in_a = {"y0": at, "y1": at, "yref": "y2", "x0": 0, "x1": 1, "xref": "x2 domain"}
    return [{"type": "line", "line": line, **place} for place in (in_b, in_a)]


def _title(detail: BlockDetail) -> str:
    size = _size(detail) if detail.norm else "zero, nothing has changed yet"
    below = f"{plain(ending(detail.layer, LETTERS))}: reads inputs {_from_to(detail.reads)}, writes outputs "
    return f"Block m {detail.m}, n {detail.n}: {size}<br>{small(below + _from_to(detail.writes), 12)}"


def _size(detail: BlockDetail) -> str:
    return f"rank {detail.rank}, norm {detail.norm:.2g}, {detail.energy:.0%} of ΔW's energy"


def _channels(detail: BlockDetail) -> str:
    return f"reads input channels {_from_to(detail.reads)}, writes output channels {_from_to(detail.writes)}"


def _general(detail: BlockDetail) -> str:
    return f"the last {detail.hybrid_r} columns of B and A are the plain LoRA's, which lies under all blocks"


def _beyond(detail: BlockDetail) -> str:
    return f"Beyond the dotted lines: the plain LoRA of rank {detail.hybrid_r}, which lies under all blocks"


def _from_to(channels: range) -> str:
    return f"{channels[0]} to {channels[-1]}" if len(channels) > 1 else f"{channels[0]}"


def _others(detail: BlockDetail) -> str:
    count = min(detail.block.shape) - len(detail.singular_values)
    return "" if not count else "the other one is zero" if count == 1 else f"the other {count} are zero"


def _steps(values: np.ndarray) -> tuple[int, int]:
    rows, columns = values.shape
    return -(-rows // MOST_CELLS), -(-columns // MOST_CELLS)
