"""How a formula is set in HTML: symbols that explain themselves, terms over a note, and all of it as one sentence.

One symbol of a line is reached with Tab and the others from it with the arrow keys (`page/explain.js`), so that a
formula costs a keyboard user one stop and not fifteen.
"""

from __future__ import annotations

import html
from collections.abc import Iterable

COLUMN = "display:inline-flex;flex-direction:column;align-items:center"
LINE = "height:1.5em;line-height:1.5em;white-space:nowrap"
CLEAR = "border-bottom:3px solid transparent"
NOTE = "font:.62em system-ui,sans-serif;margin-top:2px"
FONT = "font:1.25em/1.25 Cambria,Georgia,serif"
ROW = "display:inline-flex;align-items:flex-start;margin:2px 28px 2px 0"


def set_line(formulas: Iterable[str], said: str) -> str:
    """Formulas (HTML) side by side; whoever cannot see them hears `said` (plain text)."""
    rows = "".join(f'<div style="{ROW}">{formula}</div>' for formula in formulas)
    rows = rows.replace('tabindex="-1"', 'tabindex="0"', 1)
    keys = 'data-lm-suppress-shortcuts="true"'  # or JupyterLab takes the arrow keys for its own cells
    return f'<div role="group" {keys} aria-label="{_quoted(said)}" style="{FONT}">{rows}</div>'


def symbol(term: str, name: str, says: str, look: str = "") -> str:
    """A symbol (HTML) with its name in letters and the sentence that explains it, on pointing and on focus."""
    words = f'aria-label="{_quoted(name)}" title="{_quoted(says)}"'
    return f'<span class="glora-symbol" role="img" tabindex="-1" {words} style="{look}">{term}</span>'


def noted(term: str, note: str, *, look: str = CLEAR, title: str = "", **data: str) -> str:
    """A term (HTML) over its note (plain text); `data_path="A"` becomes the attribute `data-path`."""
    attributes = {**({"title": title} if title else {}), **data}
    words = " ".join(f'{name.replace("_", "-")}="{_quoted(value)}"' for name, value in attributes.items())
    return (
        f'<span {words} style="{COLUMN}">'
        f'<span style="{LINE};{look}">{term}</span><span style="{NOTE}">{html.escape(note)}</span></span>'
    )


def still(term: str) -> str:
    """A term without a note."""
    return f'<span style="{LINE}">{term}</span>'


def sign(sign: str) -> str:
    return f'<span style="{LINE};margin:0 .45em">{sign}</span>'


def _quoted(text: str) -> str:
    return html.escape(text, quote=True)
