"""One GLoRA layer taken apart: W0 + W0⊙A + B = W_eff as four heatmaps, the bias terms as stacked bars.

W0 and W_eff share one scale and the two terms another, which says how much finer it is: on the weight's
own scale a trained term is mostly invisible, and on a finer one without a word it would look as large as the
weight itself.
"""

from __future__ import annotations

import numpy as np

from glora_lab.drawing.equation import equation
from glora_lab.drawing.picture import Picture, draw, draws
from glora_lab.drawing.theme import DIVERGING, FROZEN, OUT_AXIS, PATH_COLORS, TEXT, modes_in_words, note, plain, small
from glora_lab.drawing.traces import Layout, heatmap, largest, matrix_axes, meaning, on, one_in

from .record import PathPicture

MOST_CELLS = 256  # per side; a larger matrix is thinned out, and says so
COLUMNS = ((0.0, 0.205), (0.265, 0.47), (0.53, 0.735), (0.795, 1.0))
WEIGHTS, BIASES = (0.53, 1.0), (0.0, 0.22)


@draws(PathPicture)
def draw_path_picture(picture: PathPicture) -> Picture:
    """The layer's weight terms (o rows, i columns) and, below, its bias terms per output channel.

    In words: the modes, the parameters, how far W_eff is from W0 and b_eff from b0, and the ranks of the A and B terms.

    Args:
        picture: what `path_picture` returns.
    """
    traces, notes, axes = _weights(picture)
    return draw(
        [*traces, *_biases(picture)],
        _title(picture),
        _in_words(picture),
        formula=equation(picture.modes, picture.inert, picture.form),
        height=470,
        notes=notes,
        barmode="relative",
        bargap=0.15,
        legend={"y": BIASES[1] + 0.015},
        margin={"t": 84, "b": 44, "r": 20},
        xaxis5={"domain": (0, 1), "anchor": "y5", "title": OUT_AXIS, "showgrid": False},
        yaxis5={"domain": BIASES, "anchor": "x5", "title": "bias", "zeroline": True},
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
        finding = f"the weight moves by {_of_its_size(picture.weight_change)}"
    return f"<b>{plain(picture.layer)}</b>: {finding}"


def _weight_finding(picture: PathPicture) -> str:
    if not picture.weight_change:
        return "W_eff equals W0."
    moved = f"W_eff differs from W0 by {_of_its_size(picture.weight_change)}"
    if picture.rank_w0a is None or picture.rank_b is None:
        return f"{moved}."
    return f"{moved}; the A term has rank {picture.rank_w0a}, B has rank {picture.rank_b}."


def _bias_finding(picture: PathPicture) -> str:
    if not picture.bias_change:
        return "b_eff equals b0."
    if np.isinf(picture.bias_change):
        return "b_eff is not zero where b0 was."
    return f"b_eff differs from b0 by {_of_its_size(picture.bias_change)}."


def _of_its_size(change: float) -> str:
    """A change of this share of something's size, in words."""
    return f"{change:.1%} of its size" if change < 2 else f"{change:.2g} times its size"


def _weights(picture: PathPicture) -> tuple[list[Layout], list[Layout], Layout]:
    """Traces, texts and axes of W0 + W0⊙A + B = W_eff."""
    whole = max(largest(picture.w0), largest(picture.w_eff))
    terms = max(largest(picture.w0a), largest(picture.b))
    sign = "·" if picture.form == "product" else "⊙"
    ranks = {"A": picture.rank_w0a, "B": picture.rank_b}
    a, b = (_note(picture, path, rank != 0, rank) for path, rank in ranks.items())
    panels = (
        ("W<sub>0</sub>", "", "frozen", FROZEN, picture.w0),
        (f"W<sub>0</sub>{sign}A", "A", a, PATH_COLORS["A"], picture.w0a),
        ("B", "B", b, PATH_COLORS["B"], picture.b),
        ("W<sub>eff</sub>", "", "their sum", TEXT, picture.w_eff),
    )
    finer = f", {whole / terms:.2g} times finer" if 0 < terms < whole else ""
    axes = {
        "coloraxis": _scale(whole, COLUMNS[0][0], COLUMNS[0][1], "W<sub>0</sub> and W<sub>eff</sub>"),
        "coloraxis2": _scale(terms, COLUMNS[1][0], COLUMNS[2][1], f"both terms{finer}"),
    }
    step = one_in(picture.w0.shape, MOST_CELLS)
    first = (step - 1) // 2  # of so many rows and columns the one in the middle is drawn, at its own place
    channels = {"x0": first, "dx": step, "y0": first, "dy": step}
    sampled = f"(1 in {step} drawn)" if step > 1 else ""
    traces, notes = [], []
    for n, (name, path, says, color, values) in enumerate(panels, start=1):
        left, right = COLUMNS[n - 1]
        shown = values[first::step, first::step]
        traces.append(_heatmap(shown, n, name) | meaning(path, x="i", y="o") | channels)
        axes |= matrix_axes(n, values.shape, COLUMNS[n - 1], WEIGHTS, first=n == 1, says=sampled)
        notes.append(note((left + right) / 2, 1.0, f"<b>{name}</b><br>{small(says)}", color, size=14))
        if n in (2, 3) and not values.any():
            notes.append(note((left + right) / 2, 0.74, says, color))
        if n < 4:
            notes.append(note(right + 0.03, 0.72, "+" if n < 3 else "=", size=20))
    return traces, notes, axes


def _note(picture: PathPicture, path: str, moved: bool, rank: int | None = None) -> str:
    """Beside a term: its mode, and what it comes to."""
    mode = picture.modes.get(path, "none")
    if path in picture.inert:
        return "inert"
    if mode == "none":
        return "off"
    return f"{mode}, rank {rank}" if rank else mode if moved else f"{mode}, still zero"


def _heatmap(values: np.ndarray, n: int, name: str) -> Layout:
    """A term that is all zero is drawn empty, so that it cannot be taken for small values."""
    empty, colors = n in (2, 3) and not values.any(), {"coloraxis": "coloraxis2" if n in (2, 3) else "coloraxis"}
    z = np.full_like(values, np.nan, np.float32) if empty else values.astype(np.float32)
    return heatmap(z, f"o %{{y}}, i %{{x}}<br>%{{z:.4g}}<extra>{name}</extra>", name=name, **colors, **on(n))


def _scale(limit: float, left: float, right: float, of: str) -> Layout:
    """A diverging colour axis of ±limit, its bar lying under the heatmaps that it serves."""
    limit = limit or 1.0
    bar = {
        "orientation": "h",
        "x": (left + right) / 2,
        "xanchor": "center",
        "y": WEIGHTS[0] - 0.115,
        "yanchor": "top",
        "len": min(right - left, 0.25),
        "thickness": 8,
        "ypad": 0,
        "outlinewidth": 0,
        "tickvals": [-limit, 0, limit],
        "ticktext": [f"−{limit:.2g}", "0", f"{limit:.2g}"],
        "tickfont": {"size": 10},
        "title": {"text": of, "side": "top", "font": {"size": 11}},
    }
    return {"colorscale": DIVERGING, "cmin": -limit, "cmax": limit, "cmid": 0, "colorbar": bar}


def _biases(picture: PathPicture) -> list[Layout]:
    """b0, b0⊙D, E and W0·C stacked per output channel; a dot at b_eff, where the stack arrives."""
    terms = (
        ("b<sub>0</sub>", FROZEN, picture.b0, ""),
        ("b<sub>0</sub>⊙D", PATH_COLORS["D"], picture.b0d, "D"),
        ("E", PATH_COLORS["E"], picture.e, "E"),
        ("W<sub>0</sub>·C", PATH_COLORS["C"], picture.w0c, "C"),
    )
    traces: list[Layout] = [
        {
            "type": "bar",
            "y": values.astype(np.float32),
            "name": name if not path or values.any() else f"{name} {_note(picture, path, False)}",
            "visible": True if values.any() or not path else "legendonly",
            "marker": {"color": color, "line": {"width": 0}},
            "hovertemplate": f"o %{{x}}: %{{y:.4g}}<extra>{name}</extra>",
            **meaning(path, x="o"),
        }
        for name, color, values, path in terms
    ]
    dots = {
        "type": "scatter",
        "y": picture.b_eff.astype(np.float32),
        "name": "b<sub>eff</sub>, their sum",
        "mode": "markers",
        "marker": {"color": "#FFFFFF", "size": 5, "line": {"width": 1.2, "color": "#303030"}},
        "hovertemplate": "o %{x}: %{y:.4g}<extra>b<sub>eff</sub></extra>",
        **meaning(x="o"),
    }
    return [trace | {"x": np.arange(len(picture.b0)), **on(5)} for trace in (*traces, dots)]
