"""A panel's last picture, in the notebook itself: for a page that has not got the panel, or lost it.

What JupyterLab does with widgets when a page is loaded anew, seen in its source (jupyterlab-manager 5.0) and in
browsers. While the kernel lives the page asks it for the states of all widgets and shows nothing but "Loading widget...
" until they are there: on a busy machine half a minute, and where the answer takes over four seconds the page asks for
every widget by itself, which is why a panel has few. After the kernel's end, or its restart, there is nothing to ask
for: "Error displaying widget: model not found", and the other forms of the same output (its text, an image) are not
tried. A notebook that was not saved comes back as it was before, without a panel's place.

So a panel shows a second output beside its widgets: its pictures as SVG and their words, moved by a slider where the
panel names one (see `sweep.py`), which the page hides while
the panel is there, by style alone and without a script. It stands while widgets load, after the kernel's end, and in an
export; its button runs the cells down to its own, by the keys that a reader would press, for a page gives its scripts
no other way to the notebook. It follows the panel with a few seconds' delay, as long as its page is the one that
ran the cell: a page that was loaded anew no longer knows which output is meant, and keeps that picture. The slider's
frames are computed one by one once the panel has been left alone for a while, where nobody is there at once.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator
from pathlib import Path

from IPython import get_ipython
from IPython.display import display, update_display

from glora_lab.drawing.picture import Picture

from .closing import tree
from .figure_slot import plain_figure, sentence
from .looking import look_again, running_loop
from .state import Settable
from .still_image import image, only_wide, stills
from .sweep import Sweep, moved, moving
from .unattended import unattended

HERE = Path(__file__)
SECONDS_BETWEEN = 3.0  # a picture of a hundred kilobytes: seldom enough to be nothing beside the panel's own
SECONDS_ALONE = 8.0  # a reader who looks for so long may wait a tenth of a second for an answer
BETWEEN_FRAMES = 0.2


class LastPicture:
    """`show` puts the panel's pictures into the cell, and from then on what the panel draws follows there: a place, a
    figure's or of one that moves in the page, tells its `drawn` of another picture, or none.
    """

    def __init__(self, panel: Settable) -> None:
        self._panel = panel
        self._id, self._shown = uuid.uuid4().hex, False
        self._waiting = self._stale = False
        self._changes = 0
        self._forget: Callable[[], None] = lambda: None

    def show(self) -> None:
        self._loop, self._shown = running_loop(), True
        self._alone = unattended()
        display(self._data(moved(self._panel) if self._alone else None), raw=True, display_id=self._id)
        shell = get_ipython()
        if self._alone and shell is not None:
            shell.events.register("post_execute", self._cell_is_over)
            self._forget = lambda: shell.events.unregister("post_execute", self._cell_is_over)
        self._move_soon()

    def now(self) -> None:
        """Where nobody is there, show the panel as it has become within the cell that made it so: what comes after a
        cell is over, who runs a notebook from end to end does not hear."""
        if self._shown and self._alone:
            self._stale = False
            update_display(self._data(moved(self._panel)), raw=True, display_id=self._id)

    def _cell_is_over(self) -> None:
        if self._stale:
            self.now()

    def clear(self) -> None:
        """Take the pictures back: the panel is closed, and not lost."""
        if self._shown:
            self._shown = False
            self._forget()
            update_display({"text/plain": ""}, raw=True, display_id=self._id)

    def _data(self, sweep: Sweep | None = None) -> dict[str, str]:
        for place in tree(self._panel):  # those that have no picture yet, or are not on the page, as well
            if hasattr(place, "drawn"):
                place.drawn = self._soon
        shown: list[Picture] = [place.picture for place in self._panel.pictured()]
        pictures = sweep.html if sweep else "".join(f"{self._image(one)}{sentence(one.words)}" for one in shown)
        page = HERE.with_suffix(".html").read_text(encoding="utf-8")
        says = "\n".join(picture.words for picture in shown)
        return {
            "text/html": page.replace("{name}", type(self._panel).__name__).replace("{pictures}", pictures),
            "text/plain": says,
        }

    def _image(self, picture: Picture) -> str:
        """For wide pages alone while a reader moves the panel: it is made anew every few moves."""
        figure = plain_figure(picture)
        return image(stills(figure) if self._alone else only_wide(figure), picture.words)

    def _soon(self) -> None:
        """A place has another picture; called on any thread."""
        self._changes += 1
        self._stale = True
        if self._shown and not self._waiting and self._loop is not None and self._loop.is_running():
            self._waiting = True
            after = 0.0 if self._alone else SECONDS_BETWEEN
            self._loop.call_soon_threadsafe(self._loop.call_later, after, self._again)

    def _again(self) -> None:
        self._waiting = False
        if self._shown and self._stale:
            self._stale = False
            update_display(self._data(moved(self._panel) if self._alone else None), raw=True, display_id=self._id)
            self._move_soon()

    def _move_soon(self) -> None:
        """Make the slider's frames when the panel has been left alone; a change meanwhile, and it is begun anew."""
        if self._loop is not None and not self._alone:
            self._loop.call_later(SECONDS_ALONE, self._move, self._changes)

    def _move(self, changes: int) -> None:
        if self._changes != changes:
            return
        frames: Generator[Sweep | None] = moving(self._panel)

        def look() -> bool:
            if not self._shown or self._changes != changes:
                frames.close()
                return False
            step = next(frames, self)
            if isinstance(step, Sweep):
                update_display(self._data(step), raw=True, display_id=self._id)
            return step is None

        look_again(look, BETWEEN_FRAMES)
