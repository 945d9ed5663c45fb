"""The atlas of outliers: blocks down, modules across, and in each cell the strongest channel and how strong it is."""

from __future__ import annotations

import math

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
def draw_outliers(outliers: Outliers) -> Picture:
    """Two maps on one scale of powers of ten: of what each layer is given, and of its gradient.

    Raises:
        ValueError: for none.
    """
    if not outliers.rows:
        raise ValueError("`outliers` (=()) must have at least one layer")
    found = {(row.cell()[0] or OUTSIDE, row.cell()[1]): row for row in outliers.rows}
    blocks, modules = (list(dict.fromkeys(key[n] for key in found)) for n in (0, 1))
    top = max(max(row.size, row.gradient_size) for row in outliers.rows)
    names: Layout = {"type": "category", "showgrid": False, "tickangle": -35}
    down: Layout = {"type": "category", "showgrid": False, "autorange": "reversed"}
    return draw(
        [_map(n, blocks, modules, found) for n in (0, 1)],
        _title(outliers),
        _in_words(outliers),
        height=ROW * len(blocks) + TOP + FOOT,
        notes=[
            note(place[0], 1.0, plain(text), anchor=("left", "bottom"))
            for place, text in zip((LEFT, RIGHT), HEADINGS, strict=True)
        ],
        margin={"t": TOP, "b": FOOT},
        coloraxis=_scale(top),
        xaxis={"domain": LEFT, "anchor": "y", **names},
        yaxis={"anchor": "x", **down},
        xaxis2={"domain": RIGHT, "anchor": "y2", **names},
        yaxis2={"anchor": "x2", "showticklabels": False, **down},
    )


def _map(n: int, blocks: list[str], modules: list[str], found: dict[tuple[str, str], LayerOutliers]) -> Layout:
    rows = [[found.get((block, module)) for module in modules] for block in blocks]
    said = [[_strongest(row, n) for row in line] for line in rows]
    z = [[math.log10(max(size, 1.0)) if channel >= 0 else None for channel, size in line] for line in said]
    text = [[f"{channel}<br>{size:.3g}×" if channel >= 0 else "" for channel, size in line] for line in said]
    told = [[_told(row, n) for row in line] for line in rows]
    written = {"texttemplate": "%{text}", "textfont": {"size": 10}} if len(found) <= MOST_WRITTEN else {}
    return heatmap(
        z,
        "%{customdata}<extra></extra>",
        x=[plain(ending(module, LONGEST_NAME)) for module in modules],
        y=[plain(ending(block, LONGEST_NAME)) for block in blocks],
        text=text,
        customdata=told,
        coloraxis="coloraxis",
        xgap=2,
        ygap=2,
        hoverongaps=False,
        **written,
        **on(n + 1),
    )


def _strongest(row: LayerOutliers | None, n: int) -> tuple[int, float]:
    if row is None:
        return -1, 0.0
    return (row.gradient_channel, row.gradient_size) if n else (row.channel, row.size)


def _told(row: LayerOutliers | None, n: int) -> str:
    channel, size = _strongest(row, n)
    if row is None or channel < 0:
        return ""
    rank = f"<br>stable rank of G {row.stable_rank:.2g}" if n else ""
    return f"{plain(row.layer)}<br>channel {channel}: {size:.3g} times the median{rank}"


def _scale(top: float) -> Layout:
    """Powers of ten from one median on, the ticks as multiples."""
    high = math.log10(max(top, 2.0))
    ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if math.log10(tick) <= high]
    bar = {**COLOR_BAR, "tickvals": [math.log10(tick) for tick in ticks], "ticktext": [f"{tick}×" for tick in ticks]}
    return {"colorscale": SEQUENTIAL, "cmin": 0.0, "cmax": high, "colorbar": bar}


def _title(outliers: Outliers) -> str:
    inputs, gradients = outliers.strongest()
    first = f"Channel {inputs.channel} of {_short(inputs)}'s inputs is {inputs.size:.3g} times the median"
    if gradients.gradient_channel < 0:
        return first
    column = (
        f"column {gradients.gradient_channel} of {_short(gradients)}'s gradient {gradients.gradient_size:.3g} times"
    )
    return f"{first};<br>{small(column, 14)}"


def _short(row: LayerOutliers) -> str:
    return plain(ending(row.layer, 32))


def _in_words(outliers: Outliers) -> str:
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
