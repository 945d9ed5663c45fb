"""What full fine-tuning changed in a real model: spectra of all matrices, and the errors of each grid of blocks."""

from __future__ import annotations

from glora_lab.drawing.picture import Picture, draw, draws
from glora_lab.drawing.theme import DASHES, METHOD_COLORS, TEXT
from glora_lab.drawing.traces import Layout, beside, line, on, side_by_side

from .record_changes import RealChanges

HEIGHT = 400


@draws(RealChanges)
def draw_real_changes(changes: RealChanges) -> Picture:
    """Left the singular values of every ΔW relative to the largest, both axes logarithmic, and a line of the mean
    slope; right the mean least error over k at equal parameters, a line for each rank.

    In words: the energy in the first directions, the slope, the errors, and in how many matrices LoRA is nearest.

    Args:
        changes: what the package has stored of full fine-tuning.
    """
    traces = [_spectrum(row.layer, row.values, first=n == 0) for n, row in enumerate(changes.matrices)]
    errors = [_errors(changes, r, n) for n, r in enumerate(changes.ranks)]
    axes = side_by_side("", {"title": "σⱼ / σ₁", "type": "log"}, {"title": "mean least relative error"})
    axes["xaxis"] |= {"type": "log", "title": "j, direction"}
    ks = list(changes.ks)
    axes["xaxis2"] |= {
        "type": "log",
        "title": "k, blocks per side (1 is LoRA)",
        "tickvals": ks,
        "ticktext": list(map(str, ks)),
    }
    return draw(
        [*traces, _mean_slope(changes), *errors],
        finding(changes),
        in_words(changes),
        height=HEIGHT,
        margin={"t": 96, "b": 52, "r": 16},
        **axes,
    )


def _spectrum(layer: str, values: tuple[float, ...], *, first: bool) -> Layout:
    places = list(range(1, len(values) + 1))
    drawn = line(places, list(values), "a matrix", METHOD_COLORS["full fine-tuning"], "σ%{x} %{y:.2f}", width=1)
    hover = {"hovertemplate": "σ%{x} %{y:.2f}" + beside(layer), "legendgroup": "matrix", "showlegend": first}
    return {**drawn, **hover, "opacity": 0.45, **on(1)}


def _mean_slope(changes: RealChanges) -> Layout:
    places, values = map(list, zip(*changes.trend, strict=True))
    return {**line(places, values, f"slope {changes.slope:.2f}", TEXT, "%{y:.2f}", dash="dash"), **on(1)}


def _errors(changes: RealChanges, r: int, n: int) -> Layout:
    values = [changes.mean_error(k, r) for k in changes.ks]
    hover = "k = %{x}: %{y:.3f}" + beside(f"r = {r}")
    drawn = line(list(changes.ks), values, f"r = {r}", METHOD_COLORS["GraLoRA"], hover, dash=DASHES[n % len(DASHES)])
    return {**drawn, "mode": "lines+markers", **on(2)}


def finding(changes: RealChanges) -> str:
    count, ranks = len(changes.matrices), changes.ranks
    least = min(changes.nearest(1, r) for r in ranks)
    how_often = f"all {count}" if least == count else f"{least} of {count}"
    return f"LoRA (k = 1) comes nearest to what full fine-tuning changed in <b>{how_often}</b> matrices"


def in_words(changes: RealChanges) -> str:
    first = changes.matrices[0]
    energy = " / ".join(f"{changes.energy(n):.0%}" for n in first.energy)
    rows = "; ".join(
        f"r = {r}: " + " / ".join(f"{changes.mean_error(k, r):.3f}" for k in changes.ks) for r in changes.ranks
    )
    nearest = ", ".join(f"{changes.nearest(1, r)} at r = {r}" for r in changes.ranks)
    ks = " / ".join(map(str, changes.ks))
    slopes = [row.slope for row in changes.matrices]
    return (
        f"ΔW of full fine-tuning in {len(changes.matrices)} matrices. Energy in the first "
        f"{' / '.join(map(str, first.energy))} directions: {energy}. Mean slope of log σ over log j "
        f"{changes.slope:.2f} ({min(slopes):.2f} to {max(slopes):.2f}). Mean least relative error for "
        f"k = {ks}: {rows}. k = 1 is nearest "
        f"in {nearest}."
    )
