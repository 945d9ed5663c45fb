"""Changes of W side by side: the matrix as a heatmap, its singular values below.

One signed scale for all heatmaps, ended at four times the root mean square of the largest change, so that neither a
few large entries nor many small ones are lost. Both axes of the singular values are logarithmic: a power law is a
straight line there, and a rank is where the line breaks off.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from glora_lab.drawing.picture import Picture, draw, draws
from glora_lab.drawing.theme import DIVERGING, TEXT, ending, listed, method_color, note, plain, small
from glora_lab.drawing.traces import COLOR_BAR, Layout, beside, heatmap, line, marked, matrix_axes, on, one_in

from .record import WeightChange, closest

LETTERS = 90  # of all names together
MOST = 6  # side by side; in more a matrix of 128 channels would lose rows
DECADES = 4  # of singular values, at most
MOST_MARKS = 32  # of singular values; in more the marks run into each other
MOST_CELLS = 128  # per side; a larger matrix is thinned out, and says so
ENDS_AT = 4.0  # root mean squares
TOP, BOTTOM = (0.46, 1.0), (0.0, 0.27)


@draws(WeightChange)
def draw_weight_changes(changes: WeightChange | Sequence[WeightChange]) -> Picture:
    """The first draw of each change: o downwards, i to the right, and its singular values.

    In words: the sides, and of each change its rank and, where it stands for another, its error.

    Args:
        changes: one or several, at most six.

    Raises:
        ValueError: for none or more than six.
    """
    shown = _several(changes)
    limit = ENDS_AT * max(_typical(change) for change in shown) or 1.0
    traces, notes = [], []
    axes: Layout = {}
    gap = 0.12 / len(shown)
    for n, change in enumerate(shown, start=1):
        across = (n - 1) / len(shown) + gap * (n > 1) / 2, n / len(shown) - gap * (n < len(shown)) / 2
        traces += [_heatmap(change, n), _spectrum(change, n + len(shown))]
        middle = n == (len(shown) + 1) // 2  # names the axis for all
        axes |= _heatmap_axes(change, n, across, named=middle) | _spectrum_axes(n + len(shown), across, first=n == 1)
        notes.append(note(sum(across) / 2, 1.0, _heading(change, LETTERS // len(shown)), TEXT, size=12))
    x, y = _ranges(shown)
    for n in range(len(shown) + 1, 2 * len(shown) + 1):
        axes[f"xaxis{n}"]["range"], axes[f"yaxis{n}"]["range"] = x, y
    return draw(
        traces,
        _title(shown),
        _in_words(shown),
        height=474,
        notes=notes,
        showlegend=False,
        margin={"t": 106, "r": 84},
        coloraxis=_scale(limit),
        **axes,
    )


def _in_words(shown: Sequence[WeightChange]) -> str:
    shapes = listed(dict.fromkeys(f"{o} output and {i} input channels" for o, i in (change.shape for change in shown)))
    return f"Changes of W of {shapes}: {'; '.join(f'{change.name}, {_says(change)}' for change in shown)}."


def _several(changes: WeightChange | Sequence[WeightChange]) -> list[WeightChange]:
    shown = [changes] if isinstance(changes, WeightChange) else list(changes)
    if not 0 < len(shown) <= MOST:
        raise ValueError(f"`changes` (={[change.name for change in shown]}) must be one to {MOST} changes")
    return shown


def _title(shown: Sequence[WeightChange]) -> str:
    compared = [change for change in shown if change.error is not None]
    if compared:
        errors = {n: change.error or 0.0 for n, change in enumerate(compared)}
        best, least = closest(errors), f"error {min(errors.values()):.2f}"
        whole = next((change.name for change in shown if change.error is None), "the change")
        if best is None:
            says = f"{listed(plain(change.name) for change in compared)} tie, {least}"
        else:
            says = f"{plain(compared[best].name)} comes closest, {least}"
        return f"<b>{plain(whole)}</b>: {says}"
    if len(shown) == 1:
        return f"<b>{plain(shown[0].name)}</b>: {_says(shown[0])}"
    ranks = [change.rank for change in shown]
    lowest = shown[int(np.argmin(ranks))]
    if min(ranks) == max(ranks):
        return f"{len(shown)} changes of W, all of rank {lowest.rank}"
    return f"{len(shown)} changes of W: <b>{plain(lowest.name)}</b> has the lowest rank, {lowest.rank}"


def _heading(change: WeightChange, letters: int) -> str:
    lines = _says(change).replace(", ", "<br>")  # one below the other: a column is narrow
    return f"<b>{plain(ending(change.name, letters))}</b><br>{small(lines)}"


def _says(change: WeightChange) -> str:
    return f"rank {change.rank}" + ("" if change.error is None else f", error {change.error:.2f}")


def _typical(change: WeightChange) -> float:
    return float(np.sqrt(np.mean(change.matrices[0] ** 2)))


def _heatmap(change: WeightChange, n: int) -> Layout:
    step = one_in(change.shape, MOST_CELLS)
    z = change.matrices[0][::step, ::step].astype(np.float32)
    hover = f"o %{{y}}, i %{{x}}<br>%{{z:.3g}}{beside(change.name)}"
    return heatmap(z, hover, dx=step, dy=step, name=change.name, coloraxis="coloraxis", **on(n))


def _heatmap_axes(change: WeightChange, n: int, across: tuple[float, float], *, named: bool) -> Layout:
    step = one_in(change.shape, MOST_CELLS)
    sampled = f"(1 in {step} drawn)" if step > 1 else ""
    axes = matrix_axes(n, change.shape, across, TOP, first=n == 1, says=sampled)
    return axes if named else axes | {f"xaxis{n}": axes[f"xaxis{n}"] | {"title": None}}


def _spectrum(change: WeightChange, n: int) -> Layout:
    """The singular values that are not zero, in the colour of the method that made the change; what none did, grey."""
    values = change.singular_values[0][: change.rank].astype(np.float32)
    look = {**marked(values, MOST_MARKS), "marker": {"size": 3}, "name": change.name, **on(n)}
    hover = f"singular value %{{x}}: %{{y:.3g}}{beside(change.name)}"
    return line(np.arange(1, len(values) + 1), values, change.name, method_color(change.method), hover) | look


def _spectrum_axes(n: int, across: tuple[float, float], *, first: bool) -> Layout:
    log = {"type": "log", "dtick": 1}
    x = {**log, "domain": across, "anchor": f"y{n}", "title": "its number"}
    y = {**log, "domain": BOTTOM, "anchor": f"x{n}", "showticklabels": first, "exponentformat": "power"}
    return {f"xaxis{n}": x, f"yaxis{n}": y | ({"title": "singular value"} if first else {})}


def _ranges(shown: Sequence[WeightChange]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Of all spectra alike, as powers of ten, so that ranks can be read off against one another."""
    values = np.concatenate([change.singular_values[0][: change.rank] for change in shown])
    low, high = (np.log10(values.min()), np.log10(values.max())) if len(values) else (-1.0, 0.0)
    longest = max(change.singular_values.shape[1] for change in shown)
    return (-0.08, float(np.log10(longest)) + 0.08), (float(max(low, high - DECADES)) - 0.15, float(high) + 0.15)


def _scale(limit: float) -> Layout:
    bar: Layout = {**COLOR_BAR, "y": sum(TOP) / 2, "len": TOP[1] - TOP[0]}
    bar |= {"tickvals": [-limit, 0, limit], "ticktext": [f"≤ −{limit:.2g}", "0", f"≥ {limit:.2g}"]}
    return {"colorscale": DIVERGING, "cmin": -limit, "cmax": limit, "cmid": 0, "colorbar": bar}
