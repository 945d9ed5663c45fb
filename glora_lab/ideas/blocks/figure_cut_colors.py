"""The colours of a cut: B's bands of output channels go from red to gold, A's of input channels from green to violet.

A number is drawn in its band's colour, the larger the darker. A block of ΔW has two parents, and is drawn in their
colours, paler: above zero in B's, below zero in A's. So a row of blocks has one of its colours in common, and a column
the other. Zero is number 0 of the palette, the ground.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

WARM = ("#C2185B", "#D84315", "#A66F00")
COOL = ("#00857A", "#1976D2", "#8E55D8")
PALE = "#F4F4F4"
SHADES = 7  # of a colour, the ground's excepted
MOST_COLORS = 16  # of a side: 2·16·7 fit a byte
FACTOR, BLOCK = (3, 7), (1, 5)  # the shades of the smallest and of the largest value
ENDS_AT = 2.5  # root mean squares: larger values have the darkest shade


@dataclass(frozen=True)
class CutColors:
    """The bands' colours and the palette of `k` blocks per side; numbers below count within the palette."""

    k: int

    @property
    def m(self) -> list[str]:
        """B's bands, from the first output block to the last."""
        return [_along(WARM, self._at(band)) for band in range(self.k)]

    @property
    def n(self) -> list[str]:
        """A's bands, from the first input block to the last."""
        return [_along(COOL, self._at(band)) for band in range(self.k)]

    @property
    def palette(self) -> list[str]:
        """Every shade of every colour, from pale to full, B's first; the ground before them."""
        step = max(1, -(-self.k // MOST_COLORS))
        bands = [*self.m[::step], *self.n[::step]]
        return [PALE, *(_mixed(PALE, color, shade / SHADES) for color in bands for shade in range(1, SHADES + 1))]

    def of_b(self, values: np.ndarray) -> np.ndarray:
        """B (o, r) → numbers of colours."""
        return self._numbers(values, self._rows(values), FACTOR)

    def of_a(self, values: np.ndarray) -> np.ndarray:
        """Aᵀ (r, i) → numbers of colours."""
        return self._numbers(values, self._columns(values), FACTOR)

    def of_delta(self, values: np.ndarray) -> np.ndarray:
        """ΔW (o, i) → numbers of colours."""
        return self._numbers(values, np.where(values > 0, self._rows(values), self._columns(values)), BLOCK)

    def _numbers(self, values: np.ndarray, colors: np.ndarray, shades: tuple[int, int]) -> np.ndarray:
        limit = ENDS_AT * float(np.sqrt(np.mean(values**2))) or 1.0
        shade = shades[0] + np.round(np.clip(np.abs(values) / limit, 0, 1) * (shades[1] - shades[0]))
        return np.where(values != 0, colors * SHADES + shade, 0).astype(np.uint8)

    def _rows(self, values: np.ndarray) -> np.ndarray:
        return self._color(np.arange(len(values)) * self.k // len(values))[:, None]

    def _columns(self, values: np.ndarray) -> np.ndarray:
        bands = self._color(np.arange(values.shape[1]) * self.k // values.shape[1])
        return bands[None, :] + (len(self.palette) - 1) // (2 * SHADES)

    def _color(self, bands: np.ndarray) -> np.ndarray:
        return bands // max(1, -(-self.k // MOST_COLORS))

    def _at(self, band: int) -> float:
        return band / (self.k - 1) if self.k > 1 else 0.5


def _along(colors: tuple[str, ...], at: float) -> str:
    """The colour at a place from 0 to 1 between several."""
    place = at * (len(colors) - 1)
    first = min(int(place), len(colors) - 2)
    return _mixed(colors[first], colors[first + 1], place - first)


def _mixed(one: str, other: str, share: float) -> str:
    both = np.array([[int(color[n : n + 2], 16) for n in (1, 3, 5)] for color in (one, other)])
    red, green, blue = ((1 - share) * both[0] + share * both[1]).round().astype(int)
    return f"#{red:02X}{green:02X}{blue:02X}"
