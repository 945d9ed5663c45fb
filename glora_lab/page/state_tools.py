"""Small buttons for a panel's state: undo, redo, reset, and a copy of it as code and as a link.

The page's half is `state_tools.js`: keys, the clipboard, the link. It is a script and talks to the kernel through a
text that is not shown.

How a link comes back: its query has the state, `?glora_lab=` and base64url of JSON. JupyterLab takes query and fragment
out of the address before a cell can run, but the browser remembers the address that the page was loaded with
(`performance.getEntriesByType("navigation")`), until it is reloaded. So the first panel of the state's kind that is
shown on the page takes it, once, and where a running kernel had that panel already, the one that its cell makes next
too; a panel whose controls cannot says why, as of any state. On Binder the link is mybinder's, whose environment
variables the kernel has; on a JupyterHub it opens the reader's own server; elsewhere it is the page's own address.
Colab and VS Code show panels in frames that know of no address: there it is the code alone.
"""

from __future__ import annotations

import html
import json
import os
import time
from collections.abc import Callable
from typing import Any

from glora_lab.page.controls import widgets

from .controls.widgets import Button, Text
from .unattended import in_colab

SAYS = {
    "Undo": "Takes the last step back (Ctrl+Z).",
    "Redo": "Takes the step that was undone again (Ctrl+Shift+Z).",
    "Reset": "Sets every control as the panel began.",
}
BROUGHT = "The state that a link brought."
BINDER = ("BINDER_LAUNCH_HOST", "BINDER_PERSISTENT_REQUEST")


class StateTools:
    """`widgets` are for the panel's row of tools; `show` brings them up to date.

    `on_link` is called with the text of the state that a link brought.
    """

    def __init__(
        self,
        *,
        undo: Callable[[], None],
        redo: Callable[[], None],
        reset: Callable[[], None],
        on_link: Callable[[str], None],
    ) -> None:
        self.undo, self.redo, self.reset = (
            _button(words, icon, does)
            for words, icon, does in (
                ("Undo", "undo", undo),
                ("Redo", "repeat", redo),
                ("Reset", "step-backward", reset),
            )
        )
        self.copy, self._made = widgets.HTML(), time.time()
        self.widgets = [self.undo, self.redo, self.reset, self.copy]
        if not in_colab():
            hidden = {"display": "none"}
            self.link = Text(description="state", says=BROUGHT, continuous_update=False, layout=hidden)
            self.link.add_class("glora-brought")
            self.link.observe(lambda change: on_link(change["new"]), "value")
            self.widgets.append(self.link)

    def show(self, state: dict[str, Any], code: str, *, can_undo: bool, can_redo: bool) -> None:
        self.undo.disabled, self.redo.disabled = not can_undo, not can_redo
        data = {"panel": state["panel"], "state": json.dumps(state), "binder": binder_address()}
        data["made"] = f"{1000 * self._made:.0f}"  # in the page's milliseconds
        attributes = " ".join(f'data-{name}="{html.escape(text, quote=True)}"' for name, text in data.items())
        self.copy.value = (
            f'<details class="glora-copy" {attributes}>'
            '<summary class="jupyter-button" title="Copies the panel as it stands: a cell of code, and a link.">'
            'Copy link</summary><div><p><span class="glora-copied" role="status"></span> '
            "In a cell, this is the panel as it stands:</p>"
            f'<pre tabindex="0" aria-label="code">{html.escape(code)}</pre>'
            '<p class="glora-address" hidden></p></div></details>'
        )


def binder_address() -> str:
    """Where Binder makes this repository's server anew, "https://mybinder.org/v2/gh/…"; "" elsewhere."""
    host, request = (os.environ.get(name, "") for name in BINDER)
    return f"{host.rstrip('/')}/{request.lstrip('/')}" if host and request else ""


def _button(words: str, icon: str, does: Callable[[], None], **look: Any) -> widgets.Button:
    button = Button(description=words, icon=icon, says=SAYS[words], **look)
    button.on_click(lambda _: does())
    button.add_class("glora-step")
    button.add_class(f"glora-{words.lower()}")
    return button
