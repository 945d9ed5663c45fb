"""The atlas of outliers: blocks down, modules across, and in each cell the strongest channel and how strong it is."""

from __future__ import annotations

import math
from collections.abc import Mapping

from glora_lab.arguments import check_choice
from glora_lab.drawing.picture import Picture, draw, draws
from glora_lab.drawing.theme import SEQUENTIAL, ending, note, plain, small
from glora_lab.drawing.traces import COLOR_BAR, Layout, heatmap, on

from .record import LayerOutliers, Outliers

ROW, TOP, FOOT = 38, 96, 92  # pixels
LEFT, RIGHT = (0.0, 0.47), (0.53, 1.0)
MOST_WRITTEN = 64  # cells; with more of them only pointing at one tells its numbers
LONGEST_NAME = 22
FAR = 5.0  # medians: from here on a channel is called an outlier
OUTSIDE = "(apart)"  # layers that stand in no numbered block
LOWEST = 1e-9
HEADINGS = ("what goes in: RMS of channel i", "the gradient: ‖G[:, i]‖")


@draws(Outliers)
def draw_outliers(outliers: Outliers, chosen: str | None = None) -> Picture:
    """Two maps on one scale of powers of ten: of what each layer is given, and of its gradient.

    In words: how many layers have an input channel or a column of the gradient above five medians, the strongest of
    both, in how many layers they are one channel, and the range of the stable ranks.

    Args:
        outliers: what `outliers` returns.
        chosen: a layer, to be framed in both.

    Raises:
        ValueError: for none, or a `chosen` that is none of them.
    """
    if not outliers.rows:
        raise ValueError("`outliers` (=()) must have at least one layer")
    if chosen is not None:
        check_choice("chosen", chosen, [row.layer for row in outliers.rows])
    found = cells_of(outliers)
    blocks, modules = (list(dict.fromkeys(key[n] for key in found)) for n in (0, 1))
    names: Layout = {"type": "category", "showgrid": False, "tickangle": -35}
    down: Layout = {"type": "category", "showgrid": False, "autorange": "reversed"}
    return draw(
        [_map(n, blocks, modules, found) for n in (0, 1)],
        _title(outliers),
        in_words(outliers),
        height=ROW * len(blocks) + TOP + FOOT,
        notes=[
            note(place[0], 1.0, plain(text), anchor=("left", "bottom"))
            for place, text in zip((LEFT, RIGHT), HEADINGS, strict=True)
        ],
        margin={"t": TOP, "b": FOOT},
        shapes=[frame for place, row in found.items() if row.layer == chosen for frame in _frames(place, found)],
        coloraxis=_scale(outliers),
        xaxis={"domain": LEFT, "anchor": "y", **names},
        yaxis={"anchor": "x", **down},
        xaxis2={"domain": RIGHT, "anchor": "y2", **names},
        yaxis2={"anchor": "x2", "showticklabels": False, **down},
    )


def cells_of(outliers: Outliers) -> dict[tuple[str, str], LayerOutliers]:
    """(block, module) → the layer in that row and column, in the order of the model."""
    return {(row.cell()[0] or OUTSIDE, row.cell()[1]): row for row in outliers.rows}


def _frames(place: tuple[str, str], found: Mapping[tuple[str, str], LayerOutliers]) -> list[Layout]:
    """White within black, which shows on every colour, around a cell of either map."""
    y, x = (list(dict.fromkeys(key[n] for key in found)).index(place[n]) for n in (0, 1))
    frame = {"type": "rect", "x0": x - 0.5, "x1": x + 0.5, "y0": y - 0.5, "y1": y + 0.5}
    lines = ({"color": "#000000", "width": 5}, {"color": "#FFFFFF", "width": 2})
    return [{**frame, "line": line, "xref": f"x{n}", "yref": f"y{n}"} for n in ("", "2") for line in lines]


def _map(n: int, blocks: list[str], modules: list[str], found: dict[tuple[str, str], LayerOutliers]) -> Layout:
    rows = [[found.get((block, module)) for module in modules] for block in blocks]
    said = [[shown(row, n) for row in line] for line in rows]
    z = [[height(size) if channel >= 0 else None for channel, size in line] for line in said]
    text = [[f"{channel}<br>{size:.3g}×" if channel >= 0 else "" for channel, size in line] for line in said]
    words = [[told(row, n) for row in line] for line in rows]
    written = {"texttemplate": "%{text}", "textfont": {"size": 10}} if len(found) <= MOST_WRITTEN else {}
    return heatmap(
        z,
        "%{customdata}<extra></extra>",
        x=[plain(ending(module, LONGEST_NAME)) for module in modules],
        y=[plain(ending(block, LONGEST_NAME)) for block in blocks],
        text=text,
        customdata=[[plain(one).replace("; ", "<br>") for one in line] for line in words],
        coloraxis="coloraxis",
        xgap=2,
        ygap=2,
        hoverongaps=False,
        **written,
        **on(n + 1),
    )


def shown(row: LayerOutliers | None, n: int) -> tuple[int, float]:
    """What map `n` shows of a layer: the channel, -1 for none, and its size."""
    if row is None:
        return -1, 0.0
    return (row.gradient_channel, row.gradient_size) if n else (row.channel, row.size)


def told(row: LayerOutliers | None, n: int) -> str:
    """A cell of map `n` in words; "" where there is nothing."""
    channel, size = shown(row, n)
    if row is None or channel < 0:
        return ""
    rank = f"; stable rank of G {row.stable_rank:.2g}" if n else ""
    return f"{row.layer}; channel {channel}: {size:.3g} times the median{rank}"


def height(size: float) -> float:
    """Where a size stands on the scale: powers of ten from one median on."""
    return math.log10(max(size, 1.0))


def scale_of(outliers: Outliers) -> tuple[float, list[int]]:
    """The height of the scale, which both maps share, and the sizes that are written at it."""
    high = height(max(2.0, *(size for row in outliers.rows for size in (row.size, row.gradient_size))))
    return high, [size for size in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if height(size) <= high]


def _scale(outliers: Outliers) -> Layout:
    high, sizes = scale_of(outliers)
    bar = {**COLOR_BAR, "tickvals": [height(size) for size in sizes], "ticktext": [f"{size}×" for size in sizes]}
    return {"colorscale": SEQUENTIAL, "cmin": 0.0, "cmax": high, "colorbar": bar}


def finding(outliers: Outliers) -> list[str]:
    """The strongest of the inputs and, where there is a gradient, of the gradients: a line each."""
    inputs, gradients = outliers.strongest()
    first = f"Channel {inputs.channel} of {ending(inputs.layer, 40)}'s inputs is {inputs.size:.3g} times the median"
    if gradients.gradient_channel < 0:
        return [first]
    where = f"column {gradients.gradient_channel} of {ending(gradients.layer, 40)}'s gradient"
    return [f"{first};", f"{where} {gradients.gradient_size:.3g} times"]


def _title(outliers: Outliers) -> str:
    first, *second = map(plain, finding(outliers))
    return "<br>".join([first, *(small(line, 14) for line in second)])


def in_words(outliers: Outliers) -> str:
    rows, (inputs, gradients) = outliers.rows, outliers.strongest()
    with_inputs, with_gradient = (
        sum(size > FAR for size in sizes) for sizes in ([r.size for r in rows], [r.gradient_size for r in rows])
    )
    said = [
        f"{len(rows)} linear layers, {outliers.tokens:,} tokens",
        f"{with_inputs} of them have an input channel above {FAR:g} medians, {with_gradient} a column of the gradient",
    ]
    if inputs.channel >= 0:
        said.append(
            f"the strongest input is channel {inputs.channel} of {inputs.layer}, {inputs.size:.3g} times the median"
        )
    if gradients.gradient_channel >= 0:
        ranks = [row.stable_rank for row in rows if row.gradient_channel >= 0]
        said.append(
            f"the strongest column of a gradient is {gradients.gradient_channel} of {gradients.layer}, "
            f"{gradients.gradient_size:.3g} times"
        )
        said.append(f"in {sum(row.same for row in rows)} layers both are one channel")
        said.append(f"the gradients' stable ranks go from {min(ranks):.2g} to {max(ranks):.2g}")
    return "; ".join(said) + "."
