"""How every panel is arranged: its formula or title and small buttons above, controls beside the picture or over it.

    title  tools
    side   picture      a column of controls where the panel is wide, rows of them where it is not
    below               what is looked at afterwards: tables, code

Where a panel is wide is a question to its own width, and so are most of the rules in `stage.css`, which travels with
each panel: no page has to be prepared for it. Nothing here measures; the page's own script (`stage.js`, see `look.py`)
names the sliders, tells figures that their place has another width, and lets the panel fill the window.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from glora_lab.page.controls import widgets

from .controls.widgets import ToggleButton
from .look import PANEL_LOOK, PageScript
from .unattended import in_colab

PRESENT = """<button class="jupyter-button glora-present"
title="Lets the panel fill the window; Escape brings it back.">Present</button>"""
MORE = "Shows the other controls, or folds them away."
Kind = TypeVar("Kind", bound=widgets.Widget)


class Stage(widgets.VBox):
    """The frame of a panel; `arrange` fills it, `tools` is the row for small buttons, `error_line` has what is said."""

    def __init__(self) -> None:
        self.tools = classed(widgets.HBox(), "glora-tools")
        self.error_line = classed(widgets.HTML(), "glora-said")
        self._title, self._side, self._picture, self._below = (
            classed(widgets.VBox(), f"glora-{part}") for part in ("title", "side", "picture", "below")
        )
        self._fold = classed(ToggleButton(description="more", icon="caret-down", says=MORE), "glora-fold")
        self._folded = classed(widgets.VBox(), "glora-folded")
        frame = classed(widgets.VBox([self._title, self.tools, self._side, self._picture]), "glora-stage")
        self.tools.children = [] if in_colab() else [widgets.HTML(PRESENT)]
        look = classed(widgets.HTML(PANEL_LOOK), "glora-away")
        super().__init__([look, frame, self._below, *([] if in_colab() else [PageScript()])])
        self.add_class("glora-panel")
        self._picture.children = [self.error_line]

    def arrange(
        self,
        *,
        picture: Iterable[widgets.Widget],
        controls: Iterable[widgets.Widget] = (),
        more: Iterable[widgets.Widget] = (),
        then: Iterable[widgets.Widget] = (),
        title: widgets.Widget | str = "",
        below: Iterable[widgets.Widget] = (),
    ) -> None:
        """Put the panel's widgets in their places; a second call puts others there.

        Args:
            picture: what the panel is about, seen whole on a small screen.
            controls: those that a lesson uses, in the order of their use.
            more: the rest, folded away until a reader asks for it.
            then: controls that stand after the fold.
            title: the formula above, or words.
            below: what is looked at after the picture.
        """
        self._title.children = [heading(title) if isinstance(title, str) else title] if title else []
        self._folded.children = tuple(more)  # the page folds by itself, at once and without a kernel
        fold = (self._fold, self._folded) if self._folded.children else ()
        self._side.children = (*controls, *fold, *then)
        self._picture.children = (self.error_line, *picture)
        self._below.children = tuple(below)

    def pictured(self) -> list[Any]:
        """The places on the page that show a picture, from the top down."""
        places = (widget for widget in _downwards(self) if hasattr(widget, "drawn"))
        return [place for place in places if place.picture is not None]


def classed(widget: Kind, *names: str) -> Kind:
    """The same widget with these classes for `stage.css`."""
    for name in names:
        widget.add_class(name)
    return widget


def heading(words: str) -> widgets.HTML:
    """A panel's title, where no formula stands above it."""
    return widgets.HTML(f'<p class="glora-heading">{html.escape(words)}</p>')


def _downwards(widget: widgets.Widget) -> Iterator[widgets.Widget]:
    """The widget and those in it, as they stand on the page."""
    yield widget
    for child in getattr(widget, "children", ()):
        yield from _downwards(child)
