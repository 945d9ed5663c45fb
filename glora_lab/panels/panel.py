"""What every panel has: errors in words, and an end.

Jupyter hides what goes wrong in a callback: nothing appears in the cell, the console or the server's log. So
every handler of a panel runs under `guard`, which keeps the exception in `errors`, says it in one line on the
panel, and lets a notebook's last cell ask all panels at once with `check_panels()`.
"""

from __future__ import annotations

import html
import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar

import ipywidgets as widgets
from IPython.display import HTML, display

from glora_lab.panels.figure_slot import FigureSlot, figure_data, in_colab, words
from glora_lab.panels.slider_names import SliderNames
from glora_lab.training.in_turn import TURN, in_turn

WIDE = {"description_width": "initial"}  # a control's label as wide as its words

STATIC = "GLORA_LAB_STATIC"  # set in the environment where a page has no widgets
SAYS_STATIC = (
    "This page shows no controls, so this is a still picture. Set the controls from Python, as in "
    "panel.rank.value = 4, and display the panel again."
)

PANELS: weakref.WeakSet[Panel] = weakref.WeakSet()
Handler = TypeVar("Handler", bound=Callable[..., Any])


class Panel(widgets.VBox):
    """Controls on `top`, a line for errors, pictures at the `bottom`. A subclass fills both, guards its handlers.

    `errors` holds every exception that a handler met, in order; `problem` is what the line says. `close()`
    closes the panel and all widgets in it; a panel that is replaced should be closed, since widgets stay in
    memory until they are.
    """

    def __init__(self) -> None:
        self.errors: list[Exception] = []
        self.problem = ""
        self.top, self.bottom = widgets.VBox(), widgets.VBox()
        self._error_line = widgets.HTML()
        names = [] if in_colab() else [SliderNames()]
        super().__init__([self.top, self._error_line, self.bottom, *names])
        self.layout.width = "100%"
        self.add_class("glora-panel")
        PANELS.add(self)

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Keep in `errors` and show what goes wrong in the block, and do not raise it. One block at a time."""
        with TURN:
            try:
                yield
            except Exception as error:
                self.errors.append(error)
                self.say(error)

    def say(self, problem: Exception | str) -> None:
        """Show a problem in words. It is no error by itself: "nothing to train" is an answer."""
        self.problem = _in_words(problem) if problem else ""
        shown = f'<p role="alert" class="glora-error">⚠ {html.escape(self.problem)}</p>' if problem else ""
        if self._error_line.value != shown:
            self._error_line.value = shown

    def _ipython_display_(self, **options: Any) -> None:
        """IPython asks this first, with every version of ipywidgets."""
        if os.environ.get(STATIC):
            self._show_still()
        elif hasattr(super(), "_ipython_display_"):  # ipywidgets 7
            super()._ipython_display_(**options)
        else:
            display(self._repr_mimebundle_(**options), raw=True)

    def _show_still(self) -> None:
        """The pictures as they are now, in words too, and why nothing can be pressed."""
        display(HTML(words(SAYS_STATIC)))
        for widget in _tree(self):
            if isinstance(widget, FigureSlot) and widget.figure is not None:
                display(figure_data(widget.figure, widget.summary), raw=True)
                display(HTML(words(widget.summary)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(where you read this, the page shows no widgets: see `glora-lab doctor`)"

    @in_turn
    def close(self) -> None:
        """Close the panel and every widget in it."""
        for widget in reversed(_tree(self)):
            if widget is not self:
                widget.close()
        super().close()
        PANELS.discard(self)


def guarded(handler: Handler) -> Handler:
    """A method of a panel that answers a reader: it clears the last problem's line and runs guarded, in its turn."""

    @wraps(handler)
    def guarded_handler(self: Panel, *args: Any, **kwargs: Any) -> Any:
        with self.guard():
            self.say("")
            return handler(self, *args, **kwargs)

    return guarded_handler  # type: ignore[return-value]


def panel_errors() -> list[Exception]:
    """The errors of all panels that are not closed, for a notebook's last cell."""
    return [error for panel in PANELS for error in panel.errors]


def check_panels() -> None:
    """Raise an AssertionError that names every error any open panel has met."""
    met = [f"{type(panel).__name__}: {type(e).__name__}: {e}" for panel in PANELS for e in panel.errors]
    assert not met, "panels met errors: " + "; ".join(sorted(met))


def _in_words(problem: Exception | str) -> str:
    """A ValueError is written for readers; of any other exception the type is half of what is to say."""
    if isinstance(problem, str | ValueError) and str(problem):
        return str(problem)
    return f"{type(problem).__name__}: {problem}"


def _tree(root: widgets.Widget) -> list[widgets.Widget]:
    """The widget and all widgets that its traits hold (children, layout, style), each once."""
    found: list[widgets.Widget] = []
    waiting = [root]
    while waiting:
        widget = waiting.pop()
        if widget in found:
            continue
        found.append(widget)
        for name in widget.keys:
            value = getattr(widget, name)
            for part in value if isinstance(value, tuple | list) else (value,):
                if isinstance(part, widgets.Widget):
                    waiting.append(part)
    return found
