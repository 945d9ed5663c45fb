"""The singular values of ΔW drawn, one adapter or several by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from glora_lab.drawing.picture import Picture, draw, draws
from glora_lab.drawing.run_colors import run_colors
from glora_lab.drawing.theme import by_name, listed, plain
from glora_lab.drawing.traces import Layout, line, marked

from .record_spectrum import Spectrum

Spectra: TypeAlias = Spectrum | Mapping[str, Spectrum]
SHARE = 0.9  # of the energy, said in words
DECADES = 2  # values further apart than this are drawn on a scale of powers of ten
LOWEST = 1e-12  # of the largest value; what is below is rounding and not drawn
MOST_MARKED = 64


@draws(Spectrum)
def draw_delta_spectrum(spectra: Spectra) -> Picture:
    """Singular values of ΔW, largest first, against their index from 1.

    In words: how many there are, the largest and the least, how many hold 90% of the energy, and the effective rank.

    Args:
        spectra: one, or several by name: the same layer under several adapters, or several layers of one.
    """
    named = by_name(spectra, Spectrum, getattr(spectra, "layer", ""))
    return draw(
        spectrum_lines(named),
        _title(named),
        spectra_in_words(named),
        height=340,
        margin={"t": 64 + 22 * (len(named) > 1)},
        showlegend=len(named) > 1,
        **spectrum_axes(list(named.values())),
    )


def spectra_in_words(named: Mapping[str, Spectrum]) -> str:
    """The figure in words."""
    if len(named) == 1:
        (spectrum,) = named.values()
        return f"Layer {spectrum.layer}: {_words(spectrum)}."
    return " ".join(f"{name}, layer {spectrum.layer}: {_words(spectrum)}." for name, spectrum in named.items())


def spectrum_lines(named: Mapping[str, Spectrum]) -> list[Layout]:
    """One line a spectrum, for a figure of one's own; values that are zero are left out."""
    colors, lines = run_colors(named), []
    for name, spectrum in named.items():
        values, says = _drawn(spectrum), f"{name}, effective rank {spectrum.effective_rank:.1f}"
        look, places = {"marker": {"size": 6}, **marked(values, MOST_MARKED)}, list(range(1, len(values) + 1))
        lines.append(line(places, values, says, colors[name], "value %{x}: %{y:.4g}<extra></extra>", **look))
    return lines


def spectrum_axes(spectra: Sequence[Spectrum]) -> Layout:
    """The axes of `spectrum_lines`: from zero, or in powers of ten where the values are far apart."""
    drawn = [value for spectrum in spectra for value in _drawn(spectrum)]
    longest = max((len(_drawn(spectrum)) for spectrum in spectra), default=0)
    far = bool(drawn) and max(drawn) > 10**DECADES * min(drawn)
    scale = {"type": "log", "dtick": 1, "exponentformat": "power"} if far else {"rangemode": "tozero"}
    whole = {"dtick": 1, "tick0": 1} if longest <= 16 else {}
    return {
        "xaxis": {"title": "index of the singular value", "range": (0.5, max(longest, 1) + 0.5), **whole},
        "yaxis": {"title": "singular value of ΔW", **scale},
    }


def _drawn(spectrum: Spectrum) -> list[float]:
    values = spectrum.singular_values
    return [float(value) for value in values[values > LOWEST * values.max(initial=0.0)]]


def _title(named: Mapping[str, Spectrum]) -> str:
    if not any(spectrum.singular_values.any() for spectrum in named.values()):
        return f"{listed(f'<b>{plain(name)}</b>' for name in named)}: ΔW is zero, nothing has changed yet"
    if len(named) == 1:
        ((name, spectrum),) = named.items()
        rank = f"effective rank {spectrum.effective_rank:.1f} of {len(_drawn(spectrum))}"
        return f"<b>{plain(name)}</b>: {rank}"
    widest = max(named, key=lambda name: named[name].effective_rank)
    return f"<b>{plain(widest)}</b> changes the weight in the most directions"


def _words(spectrum: Spectrum) -> str:
    values = _drawn(spectrum)
    if not values:
        return "ΔW is zero, nothing has changed yet"
    if len(values) == 1:
        return f"one singular value, {values[0]:.3g}"
    count = spectrum.directions_for(SHARE)
    hold = "the first holds" if count == 1 else f"the first {count} hold"
    return (
        f"{len(values)} singular values from {values[0]:.3g} down to {values[-1]:.3g}; {hold} {SHARE:.0%} of the "
        f"energy, and the effective rank is {spectrum.effective_rank:.1f}"
    )
