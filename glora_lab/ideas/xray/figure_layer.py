"""One layer of an X-ray: the spectrum of its ΔW, and beside it what each path or block adds."""

from __future__ import annotations

import numpy as np

from glora_lab.drawing.picture import Picture, draw, draws
from glora_lab.drawing.theme import listed, note, path_color, plain
from glora_lab.drawing.traces import NAMES, SIDEWAYS, Layout, bars, cells, meaning, on
from glora_lab.ideas.blocks.figure import block_axes

from .figure_spectrum import spectra_in_words, spectrum_axes, spectrum_lines
from .record import XrayLayer

LEFT, RIGHT = (0.0, 0.54), (0.68, 0.96)
MOST_WRITTEN = 8  # blocks per side


@draws(XrayLayer)
def draw_xray_layer(row: XrayLayer, method: str = "") -> Picture:
    """Singular values at the left; at the right GraLoRA's blocks or GLoRA's paths. LoRA has neither.

    In words: the spectrum, what each path adds or which block is the largest, and what needs the base model.

    Args:
        row: a layer of an `xray`.
        method: the report's, whose colour the values have where it is given.
    """
    spectra = {} if row.spectrum is None else {method or row.layer: row.spectrum}
    beside = _blocks(row) or _paths(row)
    axes = spectrum_axes(list(spectra.values()))
    axes["xaxis"] |= {"domain": LEFT if beside else (0, 1), "anchor": "y"}
    lines = spectrum_lines(spectra)
    missing = [] if spectra else [note(LEFT[1] / 2, 0.5, f"no spectrum: {_why_not(row)}")]
    traces, more, headings = beside or ([], {}, [])
    return draw(
        [*lines, *traces],
        _title(row),
        _in_words(row),
        height=360,
        notes=[*missing, *headings],
        margin={"t": 70},
        showlegend=False,
        **axes,
        **more,
    )


def _in_words(row: XrayLayer) -> str:
    """The figure in words."""
    spectrum = (
        f"Layer {row.layer}: no spectrum, {_why_not(row)}."
        if row.spectrum is None
        else spectra_in_words({"": row.spectrum})
    )
    words = [spectrum]
    if len(row.parts) > 1 or row.unknown:
        known = [f"{path} {norm:.3g}" for path, norm in row.parts.items() if path not in row.unknown]
        words.append(f"Its paths add {listed(known)}.")
    if row.unknown:
        words.append(f"Unknown without the base model: {listed(row.unknown)}.")
    if row.block_norms is not None and len(row.block_norms) > 1 and row.block_norms.any():
        m, n = np.unravel_index(int(row.block_norms.argmax()), row.block_norms.shape)
        share = row.share(f"{m},{n}")
        words.append(f"Of {row.block_norms.size} blocks m {m}, n {n} is the largest, with {share:.0%} of the energy.")
    return " ".join(words)


def _title(row: XrayLayer) -> str:
    if row.spectrum is None:
        return f"<b>{plain(row.layer)}</b>" + ("" if np.isnan(row.norm) else f": ΔW has norm {row.norm:.3g}")
    if not row.norm:
        return f"<b>{plain(row.layer)}</b>: ΔW is zero, nothing has changed yet"
    known = " (what is known of it)" if set("AB") & set(row.unknown) else ""
    return f"<b>{plain(row.layer)}</b>: ΔW{known} has norm {row.norm:.3g} and effective rank {row.effective_rank:.1f}"


def _why_not(row: XrayLayer) -> str:
    return "ΔW needs the base model" if np.isnan(row.norm) else "the layer is too large"


def _blocks(row: XrayLayer) -> tuple[list[Layout], Layout, list[Layout]] | None:
    if row.block_norms is None or len(row.block_norms) == 1:
        return None
    k, norms = len(row.block_norms), row.block_norms.astype(np.float32)
    bar = {"x": RIGHT[1] + 0.005, "xanchor": "left"}
    look: Layout = {**on(2), **({"texttemplate": "%{z:.3g}"} if k <= MOST_WRITTEN else {})}
    hover = "m %{y}, n %{x}<br>norm %{z:.4g}<extra></extra>"
    drawn = cells(norms, float(row.block_norms.max()), hover, bar=bar, **look)
    axes = block_axes(k, "2")
    axes["xaxis2"] |= {"domain": RIGHT}
    return [drawn], axes, [note(sum(RIGHT) / 2, 1.0, "norm of each block")]


def _paths(row: XrayLayer) -> tuple[list[Layout], Layout, list[Layout]] | None:
    if len(row.parts) < 2 and not row.unknown:
        return None
    drawn = [_bar(row, path) for path in row.parts]
    axes = {
        "xaxis2": {"domain": RIGHT, "anchor": "y2", "rangemode": "tozero", "title": "norm", "nticks": 4},
        "yaxis2": {"anchor": "x2", "autorange": "reversed", **NAMES},
    }
    heading = note(sum(RIGHT) / 2, 1.0, "A, B add to the weight; C, D, E to the bias")
    return drawn, {**axes, "barmode": "stack"}, [heading]


def _bar(row: XrayLayer, path: str) -> Layout:
    """What a path adds; a trace of its own, which is pointed at by itself."""
    known = path not in row.unknown
    norm, text = (row.parts[path], f"{row.parts[path]:.3g}") if known else (0.0, "unknown without the base")
    look = {"name": path, "text": [text], "marker": {"line": {"width": 0}}, **SIDEWAYS, **on(2), **meaning(path)}
    return bars([norm], [path], path_color(path), "%{y}: norm %{x:.4g}<extra></extra>", **look)
