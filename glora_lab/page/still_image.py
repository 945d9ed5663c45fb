"""A figure as an image of a page, for wide windows and for a phone's; the page chooses, without a script.

Decisions. An image and not the SVG itself: a page that does not trust a notebook shows the one and not the other, and
names within the picture meet no other picture's. A page that takes `<picture>` away keeps the wide image.
"""

from __future__ import annotations

import base64
import html
from typing import Any, NamedTuple

from glora_lab.drawing.still import still
from glora_lab.drawing.still.narrow import narrow

PHONE = "(max-width: 600px)"  # of the window
STYLE = "max-width:100%"  # where no style sheet is


class Stills(NamedTuple):
    """The SVGs of a figure, for a wide page and for a phone's; the same where it has no narrow form."""

    wide: str
    narrow: str


def stills(figure: dict[str, Any]) -> Stills:
    """A figure is given as plotly's JSON."""
    wide, for_phones = still(figure), narrow(figure)
    return Stills(wide, wide if for_phones is figure else still(for_phones))


def only_wide(figure: dict[str, Any]) -> Stills:
    """Half the work, for a page that is wide."""
    svg = still(figure)
    return Stills(svg, svg)


def image(drawn: Stills, words: str) -> str:
    """The image, said by `words`."""
    source = "" if drawn.wide == drawn.narrow else f'<source media="{PHONE}" srcset="{address(drawn.narrow)}">'
    return f"<picture>{source}{_wide(drawn, words)}</picture>"


def image_of_script(drawn: Stills, words: str) -> str:
    """The same where a script gives the narrow one its address."""
    return f'<picture><source media="{PHONE}">{_wide(drawn, words)}</picture>'


def _wide(drawn: Stills, words: str) -> str:
    return f'<img src="{address(drawn.wide)}" alt="{html.escape(words, quote=True)}" style="{STYLE}">'


def address(svg: str) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
