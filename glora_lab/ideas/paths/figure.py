"""One GLoRA layer taken apart: W0 + W0⊙A + B = W_eff as four heatmaps, the bias terms as stacked bars.

W0 and W_eff share one scale and the two terms another, which says how much finer it is: on the weight's
own scale a trained term is mostly invisible, and on a finer one without a word it would look as large as the
weight itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from glora_lab.drawing.equation import equation
from glora_lab.drawing.picture import Picture, draw, draws
from glora_lab.drawing.theme import (
    DIVERGING,
    FROZEN,
    IN_AXIS,
    OUT_AXIS,
    PATH_COLORS,
    TEXT,
    modes_in_words,
    note,
    plain,
)

from .record import PathPicture

MOST_CELLS = 256  # per side; a larger matrix is thinned out, and says so
COLUMNS = ((0.0, 0.205), (0.265, 0.47), (0.53, 0.735), (0.795, 1.0))
Layout = dict[str, Any]

WEIGHTS, BIASES = (0.53, 1.0), (0.0, 0.22)


@draws(PathPicture)
def draw_path_picture(picture: PathPicture) -> Picture:
    """The layer's weight terms (o rows, i columns) and, below, its bias terms per output channel."""
    traces, notes, axes = _weights(picture)
    return draw(
        [*traces, *_biases(picture)],
        _title(picture),
        _in_words(picture),
        formula=equation(picture.modes, picture.inert, picture.form),
        height=560,
        notes=notes,
        barmode="relative",
        bargap=0.15,
        legend={"y": BIASES[1] + 0.015},
        margin={"t": 84, "b": 44, "r": 20},
        xaxis5={"domain": (0, 1), "anchor": "y5", "title": {"text": OUT_AXIS}, "showgrid": False},
        yaxis5={"domain": BIASES, "anchor": "x5", "title": {"text": "bias"}, "zeroline": True},
        **axes,
    )


def _in_words(picture: PathPicture) -> str:
    """The figure in words."""
    working = {path: mode for path, mode in picture.modes.items() if path not in picture.inert}
    return (
        f"Layer {picture.layer}: {modes_in_words(working)}, {picture.total:,} parameters. "
        f"{_weight_finding(picture)} {_bias_finding(picture)}"
    )


def _title(picture: PathPicture) -> str:
    if not picture.weight_change and not picture.bias_change:
        finding = "every term is zero, nothing has changed yet"
    elif not picture.weight_change:
        finding = "the weight stays as it is, only the bias moves"
    else:
        finding = f"the weight moves by {picture.weight_change:.1%} of its size"
    return f"<b>{plain(picture.layer)}</b>: {finding}"


def _weight_finding(picture: PathPicture) -> str:
    if not picture.weight_change:
        return "W_eff equals W0."
    moved = f"W_eff differs from W0 by {picture.weight_change:.1%} of its size"
    if picture.rank_w0a is None or picture.rank_b is None:
        return f"{moved}."
    return f"{moved}; the A term has rank {picture.rank_w0a}, B has rank {picture.rank_b}."


def _bias_finding(picture: PathPicture) -> str:
    if not picture.bias_change:
        return "b_eff equals b0."
    if np.isinf(picture.bias_change):
        return "b_eff is not zero where b0 was."
    return f"b_eff differs from b0 by {picture.bias_change:.1%} of its size."


def _weights(picture: PathPicture) -> tuple[list[Layout], list[Layout], Layout]:
    """Traces, texts and axes of W0 + W0⊙A + B = W_eff."""
    whole = max(_largest(picture.w0), _largest(picture.w_eff))
    terms = max(_largest(picture.w0a), _largest(picture.b))
    sign = "·" if picture.form == "product" else "⊙"
    panels = (
        ("W<sub>0</sub>", "frozen", FROZEN, picture.w0),
        (f"W<sub>0</sub>{sign}A", _note(picture, "A", picture.rank_w0a), PATH_COLORS["A"], picture.w0a),
        ("B", _note(picture, "B", picture.rank_b), PATH_COLORS["B"], picture.b),
        ("W<sub>eff</sub>", "the sum, same scale as W0", TEXT, picture.w_eff),
    )
    finer = f", {whole / terms:.2g} times finer" if 0 < terms < whole else ""
    axes = {
        "coloraxis": _scale(whole, COLUMNS[0][0], COLUMNS[0][1], "W<sub>0</sub> and W<sub>eff</sub>"),
        "coloraxis2": _scale(terms, COLUMNS[1][0], COLUMNS[2][1], f"both terms{finer}"),
    }
    step = -(-max(picture.w0.shape) // MOST_CELLS)
    traces, notes = [], []
    for n, (name, says, color, values) in enumerate(panels, start=1):
        left, right = COLUMNS[n - 1]
        shown = values[::step, ::step]
        traces.append(_heatmap(shown, n, name))
        axes |= _heatmap_axes(n, shown.shape, step)
        small = f"<span style='font-size:11px'>{says}</span>"
        notes.append(note((left + right) / 2, 1.0, f"<b>{name}</b><br>{small}", color, size=14))
        if n in (2, 3) and not values.any():
            notes.append(note((left + right) / 2, 0.74, says, color))
        if n < 4:
            notes.append(note(right + 0.03, 0.72, "+" if n < 3 else "=", size=20))
    return traces, notes, axes


def _note(picture: PathPicture, path: str, rank: int | None) -> str:
    mode = picture.modes.get(path, "none")
    if path in picture.inert:
        return "inert"
    if mode == "none":
        return "off"
    if rank is None:
        return mode
    return f"{mode}, rank {rank}" if rank else f"{mode}, still zero"


def _heatmap(values: np.ndarray, n: int, name: str) -> Layout:
    """A term that is all zero is drawn empty, so that it cannot be taken for small values."""
    empty = n in (2, 3) and not values.any()
    return {
        "type": "heatmap",
        "z": np.full_like(values, np.nan, np.float32) if empty else values.astype(np.float32),
        "name": name,
        "coloraxis": "coloraxis2" if n in (2, 3) else "coloraxis",
        "xaxis": f"x{n}",
        "yaxis": f"y{n}",
        "hovertemplate": "o %{y}, i %{x}<br>%{z:.4g}<extra>" + name + "</extra>",
    }


def _heatmap_axes(n: int, shape: tuple[int, ...], step: int) -> Layout:
    """The axes of heatmap n, their ranges given, for a term that is drawn empty has none of its own."""
    sampled = f" (1 in {step} drawn)" if step > 1 else ""
    box = {"showline": True, "mirror": True, "showgrid": False, "zeroline": False, "ticks": ""}
    x = {"domain": COLUMNS[n - 1], "anchor": f"y{n}", "title": {"text": IN_AXIS + sampled}, **box}
    y = {"domain": WEIGHTS, "anchor": f"x{n}", "showticklabels": n == 1, **box}
    x["range"], y["range"] = (-0.5, shape[1] - 0.5), (shape[0] - 0.5, -0.5)  # o counts downwards, as a matrix
    if n == 1:
        y["title"] = {"text": OUT_AXIS + sampled}
    return {f"xaxis{n}": x, f"yaxis{n}": y}


def _scale(limit: float, left: float, right: float, of: str) -> Layout:
    """A diverging colour axis of ±limit, its bar lying under the heatmaps that it serves."""
    limit = limit or 1.0
    bar = {
        "orientation": "h",
        "x": (left + right) / 2,
        "xanchor": "center",
        "y": WEIGHTS[0] - 0.105,
        "yanchor": "top",
        "len": min(right - left, 0.25),
        "thickness": 8,
        "outlinewidth": 0,
        "tickvals": [-limit, 0, limit],
        "ticktext": [f"−{limit:.2g}", "0", f"{limit:.2g}"],
        "tickfont": {"size": 10},
        "title": {"text": of, "side": "top", "font": {"size": 11}},
    }
    return {"colorscale": DIVERGING, "cmin": -limit, "cmax": limit, "cmid": 0, "colorbar": bar}


def _biases(picture: PathPicture) -> list[Layout]:
    """b0, b0⊙D, E and W0·C stacked per output channel; a dot at b_eff, where the stack arrives."""
    bars = (
        ("b<sub>0</sub>", FROZEN, picture.b0, ""),
        ("b<sub>0</sub>⊙D", PATH_COLORS["D"], picture.b0d, "D"),
        ("E", PATH_COLORS["E"], picture.e, "E"),
        ("W<sub>0</sub>·C", PATH_COLORS["C"], picture.w0c, "C"),
    )
    common = {"x": np.arange(len(picture.b0)), "xaxis": "x5", "yaxis": "y5"}
    traces: list[Layout] = [
        {
            "type": "bar",
            "y": values.astype(np.float32),
            "name": f"{name} {_bias_note(picture, path, values)}" if path else name,
            "visible": True if values.any() or not path else "legendonly",
            "marker": {"color": color, "line": {"width": 0}},
            "hovertemplate": "o %{x}: %{y:.4g}<extra>" + name + "</extra>",
            **common,
        }
        for name, color, values, path in bars
    ]
    dots = {
        "type": "scatter",
        "y": picture.b_eff.astype(np.float32),
        "name": "b<sub>eff</sub>, their sum",
        "mode": "markers",
        "marker": {"color": "#FFFFFF", "size": 5, "line": {"width": 1.2, "color": "#303030"}},
        "hovertemplate": "o %{x}: %{y:.4g}<extra>b<sub>eff</sub></extra>",
        **common,
    }
    return [*traces, dots]


def _bias_note(picture: PathPicture, path: str, values: np.ndarray) -> str:
    mode = picture.modes.get(path, "none")
    if path in picture.inert:
        return "inert"
    return "off" if mode == "none" else mode if values.any() else f"{mode}, still zero"


def _largest(values: np.ndarray) -> float:
    return float(np.abs(values).max(initial=0.0))
