"""The atlas as plain data for a picture in the page whose layers can be chosen: the same colours and words as
`draw_outliers` draws, worked out here so that the page only has to lay them out.
"""

from __future__ import annotations

from typing import Any

from plotly.colors import sample_colorscale

from glora_lab.drawing.inks import over
from glora_lab.drawing.theme import SEQUENTIAL, ending

from .figure import HEADINGS, LONGEST_NAME, cells_of, finding, height, in_words, scale_of, shown, told
from .record import LayerOutliers, Outliers

STEPS = 9  # colours that the scale is drawn with


def atlas_cells(outliers: Outliers) -> dict[str, Any]:
    """Names of rows and columns, both maps [row][column] with colours, texts and places among `rows`; JSON alone.

    Of the marks of the scale, where they stand from 0 to 1, their text, and whether a narrow picture has them too.
    """
    found, (high, sizes) = cells_of(outliers), scale_of(outliers)
    places = {id(row): place for place, row in enumerate(outliers.rows)}
    blocks, modules = (list(dict.fromkeys(key[n] for key in found)) for n in (0, 1))

    def cell(row: LayerOutliers | None, n: int) -> dict[str, Any] | None:
        if row is None:
            return None
        channel, size = shown(row, n)
        color = _color(height(size) / high) if channel >= 0 else ""
        text = [str(channel), f"{size:.3g}×"] if channel >= 0 else ["none", ""]
        words = told(row, n) or f"{row.layer}; nothing"
        return {"at": places[id(row)], "text": text, "color": color, "ink": over(color or "#FFFFFF"), "words": words}

    return {
        "finding": finding(outliers),
        "says": in_words(outliers),
        "rows": _short(blocks),
        "columns": _short(modules),
        "headings": list(HEADINGS),
        "maps": [[[cell(found.get((block, one)), n) for one in modules] for block in blocks] for n in (0, 1)],
        "scale": {
            "colors": [_color(step / (STEPS - 1)) for step in range(STEPS)],
            "marks": [[round(height(size) / high, 4), f"{size}×", str(size).strip("0") == "1"] for size in sizes],
        },
    }


def _color(at: float) -> str:
    (color,) = sample_colorscale(SEQUENTIAL, [min(at, 1.0)])
    return "#{:02X}{:02X}{:02X}".format(*(int(float(part)) for part in color[4:-1].split(",")))


def _short(names: list[str]) -> list[str]:
    """Each name's last words, as many as tell it from the others."""
    return [ending(_told_apart(name, names), LONGEST_NAME) for name in names]


def _told_apart(name: str, names: list[str]) -> str:
    words = name.split(".")
    shorter = (".".join(words[-count:]) for count in range(1 + words[-1].isdigit(), len(words)))
    others = [other for other in names if other != name]
    return next((end for end in shorter if not any(f".{one}".endswith(f".{end}") for one in others)), name)
