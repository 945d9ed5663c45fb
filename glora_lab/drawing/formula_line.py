"""How a formula is set in HTML: terms in a line, each over a small note, and the whole as one sentence."""

from __future__ import annotations

import html
from collections.abc import Iterable

COLUMN = "display:inline-flex;flex-direction:column;align-items:center"
LINE = "height:1.5em;line-height:1.5em;white-space:nowrap"
CLEAR = "border-bottom:3px solid transparent"
NOTE = "font:.62em system-ui,sans-serif;opacity:.85;margin-top:2px"
FONT = "font:1.25em/1.25 Cambria,Georgia,serif"
ROW = "display:inline-flex;align-items:flex-start;margin:2px 28px 2px 0"


def set_line(formulas: Iterable[str], said: str) -> str:
    """Formulas (HTML) side by side; whoever cannot see them hears `said` (plain text)."""
    rows = "".join(f'<div aria-hidden="true" style="{ROW}">{formula}</div>' for formula in formulas)
    return f'<div role="math" aria-label="{html.escape(said, quote=True)}" style="{FONT}">{rows}</div>'


def noted(term: str, note: str, *, look: str = CLEAR, title: str = "", **data: str) -> str:
    """A term (HTML) over its note (plain text); `data_path="A"` becomes the attribute `data-path`."""
    attributes = "".join(
        f'{name.replace("_", "-")}="{html.escape(value, quote=True)}" ' for name, value in data.items()
    )
    return (
        f'<span {attributes}title="{html.escape(title, quote=True)}" style="{COLUMN}">'
        f'<span style="{LINE};{look}">{term}</span><span style="{NOTE}">{html.escape(note)}</span></span>'
    )


def still(term: str) -> str:
    """A term without a note."""
    return f'<span style="{LINE}">{term}</span>'


def sign(sign: str) -> str:
    return f'<span style="{LINE};margin:0 .45em">{sign}</span>'
