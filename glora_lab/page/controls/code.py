"""Code to take away: shown as text, with a button that copies it."""

from __future__ import annotations

import html

BOX = "margin:0;padding:8px;line-height:1.35;border:1px solid rgba(128,128,128,.4);border-radius:4px"
COPY = "navigator.clipboard.writeText(this.parentElement.querySelector('pre').textContent)"


def code_to_copy(snippet: str) -> str:
    """As HTML."""
    return (
        f'<div><pre tabindex="0" aria-label="code" style="{BOX}">{html.escape(snippet)}</pre>'
        f'<button class="jupyter-button" title="Copies the code." onclick="{COPY}">Copy</button></div>'
    )
