"""What every panel has: errors in words, and an end.

Jupyter hides what goes wrong in a callback: nothing appears in the cell, the console or the server's log. So
every handler of a panel runs under `guard`, which keeps the exception in `errors`, says it in one line on the
panel, and lets a notebook's last cell ask all panels at once with `check_panels()`.

What is said has a subject, "settings" or "the folder": it stands until that is asked about again, whatever else a
reader moves meanwhile. Without a subject it is an answer in passing, and the next answer takes its place.
"""

from __future__ import annotations

import html
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar

from IPython.display import HTML, display

from glora_lab.training.in_turn import TURN, in_turn

from .actions import one_action
from .closing import tree
from .controls.looks import Looks
from .figure_slot import picture_data, words
from .last_picture import LastPicture
from .state import Settable
from .sweep import moved
from .unattended import in_colab, is_static

SAYS_STATIC = (
    "This page shows no controls, so this is a still picture. Set the controls from Python, as in "
    "panel.rank.value = 4, and display the panel again."
)
SAYS_MOVING = SAYS_STATIC.replace("so this is a still picture", "so these are pictures with one slider")

SAYS_BELOW = (
    "{}: this page shows no widgets, so its pictures stand below. In your own JupyterLab, `glora-lab doctor` says why."
)

PANELS: weakref.WeakSet[Panel] = weakref.WeakSet()
Handler = TypeVar("Handler", bound=Callable[..., Any])


class Panel(Settable):
    """A subclass makes its widgets, says where they stand with `arrange` (see `Stage`), and guards its handlers.

    `errors` holds every exception that a handler met, in order; `problem` is what the line says, the latest first
    where several things stand. `close()` closes the panel and all widgets in it; a panel that is replaced should be
    closed, since widgets stay in memory until they are. One that could not be made is closed by itself.
    """

    def __new__(cls, *args: Any, **settings: Any) -> Panel:
        panel = super().__new__(cls, *args, **settings)
        panel._looks = Looks()
        return panel

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        if "__init__" in vars(cls):
            cls.__init__ = _made_or_closed(cls.__init__)  # type: ignore[method-assign]

    def __init__(self) -> None:
        self.errors: list[Exception] = []
        self._said: dict[str, str] = {}  # subject → what stands
        self._subject = ""
        self._last_picture = LastPicture(self)
        super().__init__()
        PANELS.add(self)

    @property
    def problem(self) -> str:
        return "\n".join(reversed(self._said.values()))

    @contextmanager
    def guard(self, about: str = "") -> Iterator[None]:
        """Keep in `errors` and show what goes wrong in the block, and do not raise it. One block at a time.

        What is said in the block is about this subject.
        """
        with TURN, one_action(self), self._looks.worn():
            around, self._subject = self._subject, about
            try:
                yield
            except Exception as error:
                self.errors.append(error)
                self.say(error)
            finally:
                self._subject = around

    def say(self, problem: Exception | str, about: str | None = None) -> None:
        """Show a problem in words, or with "" take back what stands. It is no error: "nothing to train" is an answer.

        `about` is the subject, by default that of the guarded block under way.
        """
        subject = self._subject if about is None else about
        self._said.pop(subject, None)
        if problem:
            self._said[subject] = _in_words(problem)
        lines = reversed(self._said.values())
        shown = "".join(f'<p role="alert" class="glora-error">⚠ {html.escape(line)}</p>' for line in lines)
        if self.error_line.value != shown:
            self.error_line.value = shown

    def _ipython_display_(self, **options: Any) -> None:
        """IPython asks this first, with every version of ipywidgets."""
        if is_static():
            self._show_still()
            return
        if hasattr(super(), "_ipython_display_"):  # ipywidgets 7
            super()._ipython_display_(**options)
        else:
            beside = {} if in_colab() else {"text/plain": SAYS_BELOW.format(type(self).__name__)}
            display({**self._repr_mimebundle_(**options), **beside}, raw=True)
        if not in_colab():
            self._last_picture.show()

    def _show_still(self) -> None:
        """The pictures as they are now, in words too, and why nothing can be pressed."""
        moving = moved(self)
        if moving is not None:
            display(HTML(words(SAYS_MOVING)))
            display(moving)
            return
        display(HTML(words(SAYS_STATIC)))
        for widget in self.pictured():
            display(picture_data(widget.picture), raw=True)
            display(HTML(words(widget.picture.words)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(where you read this, the page shows no widgets: see `glora-lab doctor`)"

    def __del__(self) -> None:
        """Nothing is left to close: ipywidgets' registry holds every panel until it is closed.

        ipywidgets would close it once more, in its turn; but the collector runs on any thread, and whoever has the turn
        may be waiting for that one.
        """

    @in_turn
    def close(self) -> None:
        """Close the panel and every widget in it."""
        for widget in reversed(tree(self)):
            if widget is not self:
                widget.close()
        super().close()
        self._looks.close()
        self._last_picture.clear()
        PANELS.discard(self)


def guarded_about(subject: str) -> Callable[[Handler], Handler]:
    """For a method of a panel that answers a reader: it runs guarded, in its turn, and asks about this subject anew.

    What was said about it before is taken back, and what was said in passing.
    """

    def answering(handler: Handler) -> Handler:
        @wraps(handler)
        def guarded_handler(self: Panel, *args: Any, **kwargs: Any) -> Any:
            with self.guard(subject):
                self.say("", about="")
                self.say("")
                return handler(self, *args, **kwargs)

        return guarded_handler  # type: ignore[return-value]

    return answering


guarded = guarded_about("")  # what such a method says is said in passing


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


def _made_or_closed(make: Callable[..., None]) -> Callable[..., None]:
    """The same `__init__`, its widgets sharing their looks; where it raises, those made by then do not stay.

    The outermost notes what it was called with, and begins to hear what a reader sets.
    """

    @wraps(make)
    def make_or_close(self: Panel, *args: Any, **kwargs: Any) -> None:
        outermost = self._is_made_with(args, kwargs)
        try:
            with self._looks.worn():
                make(self, *args, **kwargs)
                if outermost:
                    self._hear_settings()
        except BaseException:
            self.close()
            raise

    return make_or_close
