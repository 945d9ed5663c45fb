"""A place in a panel where figures follow one another without a flicker, with the same in words below.

A figure is sent as the data that JupyterLab's plotly renderer draws, as the single output of an Output
widget: replacing that output swaps the drawing between two frames, while a FigureWidget would put five
megabytes of JavaScript into every notebook, and displaying the figure again would append it. At most ten
drawings a second are sent, and the next only when the page has drawn the one before; where an event
loop runs, the last of a burst always is.

A figure's title is its finding. In a panel it stands above the figure as a line of the page, which is broken where the
page is narrow; plotly breaks none.

Colab's Output widgets have no such renderer, and a script in their HTML may run before plotly is there. So a figure
goes there as a page of its own in a frame, once a second at most.
"""

from __future__ import annotations

import base64
import html
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from glora_lab.drawing.picture import Picture
from glora_lab.drawing.still import still
from glora_lab.page.controls import widgets
from glora_lab.training.in_turn import Turn

from .answering_page import AnsweringPage
from .look import FIGURE_LOOK
from .looking import running_loop
from .unattended import executed, in_colab, is_static

if TYPE_CHECKING:
    import asyncio

    import plotly.graph_objects as go

PLOTLY = "application/vnd.plotly.v1+json"
SVG = "image/svg+xml"
SECONDS_BETWEEN, SECONDS_BETWEEN_FRAMES = 0.1, 1.0
CONFIG = {"displaylogo": False, "responsive": True}
FRAME = 20  # pixels around a figure in a frame
TITLE, SECOND_LINE = 40, 16  # pixels of a figure that its title takes, and one of two lines more


class FigureSlot(AnsweringPage, widgets.VBox):
    """Shows one picture at a time, its words below the figure. Safe to call from any thread.

    `picture` is the latest that was given, drawn or about to be; `figure` and `summary` are its figure and words.
    `took` is the seconds that the page needed for the last, 0 where no page ever answered; `drawn` is told of each,
    and of none.
    """

    def __init__(self, height: int = 360) -> None:
        self.picture: Picture | None = None
        self._output = widgets.Output(layout=widgets.Layout(height=f"{height}px", width="100%"))
        self._finding, self._words = widgets.HTML(), widgets.HTML()
        self.drawn: Callable[[], None] = lambda: None
        self._lock = Turn()
        self._drawn_at = -SECONDS_BETWEEN
        self._waiting = False
        self._timer: asyncio.TimerHandle | None = None
        self._loop = running_loop()
        super().__init__([self._finding, self._output, self._words])
        self.add_class("glora-slot")
        self._output.add_class("glora-figure")

    @property
    def figure(self) -> go.Figure | None:
        return self.picture and self.picture.figure

    @property
    def summary(self) -> str:
        return self.picture.words if self.picture else ""

    def show(self, picture: Picture) -> None:
        """Draw the picture, now or as soon as the last is drawn and a tenth of a second has passed since."""
        with self._lock:
            self.picture = picture
            if self._waiting:
                return
            if self._seconds_to_wait() > 0 and self._loop is not None and self._loop.is_running():
                self._waiting = True
                self._loop.call_soon_threadsafe(self._flush_in_time)
            else:
                self.flush()

    def clear(self) -> None:
        """Show nothing, and take no place."""
        with self._lock:
            self.picture, self._waiting = None, False
            self._output.outputs, self._finding.value, self._words.value = (), "", ""
            widgets.show_only_if(False, self)
            self.drawn()

    def flush(self) -> None:
        """Draw what was shown last, at once."""
        with self._lock:
            self._waiting = False
            widgets.show_only_if(True, self)
            if self.picture is None or self.comm is None:  # closed meanwhile
                return
            if not (is_static() or executed()):  # the panel's own cell holds the picture: once is enough to save
                data = picture_data(self.picture, drawn=True)
                self._finding.value = finding(data[PLOTLY]["layout"]) if PLOTLY in data else ""
                self._output.layout.height = f"{height_of(data, self.picture)}px"
                self._output.outputs = ({"output_type": "display_data", "data": data, "metadata": {}},)
            self._words.value = sentence(self.picture.words)
            self._drawn_at = time.monotonic()
            self.ask()
            self.drawn()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().close()

    def _seconds_to_wait(self) -> float:
        between = SECONDS_BETWEEN_FRAMES if in_colab() else SECONDS_BETWEEN
        return max(self._drawn_at + between - time.monotonic(), self.seconds_to_wait)

    def _flush_in_time(self) -> None:
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            if self._waiting and self._loop is not None:
                self._timer = self._loop.call_later(self._seconds_to_wait(), self.flush)

    def _caught_up(self) -> None:
        if self._waiting and self._loop is not None:  # the answer may come on another thread than the loop's
            self._loop.call_soon_threadsafe(self._flush_in_time)


def picture_data(picture: Picture, *, drawn: bool = False) -> dict[str, Any]:
    """Mime type → data of a display: for plotly's renderer, and a still picture for pages that have none, as an export.

    `drawn` leaves the still picture out, for a place that is on a page. In Colab, whose Output widgets have no such
    renderer, a frame.
    """
    data: dict[str, Any] = {"text/plain": picture.words}
    plain = plain_figure(picture)
    if in_colab():
        data["text/html"] = _frame(plain, picture.height, picture.words)
    else:
        data[PLOTLY] = {**plain, "config": CONFIG}
        if not drawn:
            data[SVG] = still(plain)
    return data


def height_of(data: Mapping[str, Any], picture: Picture) -> float:
    """Pixels that the drawing takes; plotly asks its place, which must have a height of its own."""
    return data[PLOTLY]["layout"].get("height", picture.height) if PLOTLY in data else picture.height + FRAME


def finding(layout: dict[str, Any]) -> str:
    """A figure's title as HTML, taken out of its layout with the room that it had there."""
    text = layout.get("title", {}).get("text", "")
    if not text:
        return ""
    had = TITLE + SECOND_LINE * ("<br>" in text)
    layout["title"] = {"text": ""}
    layout["height"] = layout.get("height", 450) - had
    layout["margin"] = {**layout.get("margin", {}), "t": max(8, layout.get("margin", {}).get("t", 64) - had)}
    return f'<p class="glora-finding">{text}</p>'


def as_outputs(picture: Picture) -> list[dict[str, Any]]:
    """What a cell shows of a picture, one display after the other: its formula, the figure, the words."""
    formula = [{"text/html": picture.formula}] if picture.formula else []
    return [*formula, picture_data(picture), {"text/html": words(picture.words), "text/plain": picture.words}]


def plain_figure(picture: Picture) -> dict[str, Any]:
    """The figure as plotly's JSON, its heatmaps in fewer digits."""
    plain = picture.plain()
    for trace in plain["data"]:
        if trace["type"] == "heatmap":
            trace["z"] = _fewer_digits(trace["z"])
    return plain


def _fewer_digits(z: Any) -> Any:
    """A heatmap's values in single precision or three digits: a notebook is saved with its pictures, and no colour
    shows more. plotly 6 packs arrays, plotly 5 writes them out.
    """
    if isinstance(z, dict):
        if z["dtype"] != "f8":
            return z
        packed = np.frombuffer(base64.b64decode(z["bdata"]), "<f8").astype("<f4").tobytes()
        return {**z, "dtype": "f4", "bdata": base64.b64encode(packed).decode()}
    if isinstance(z, list):
        return [_fewer_digits(row) for row in z]
    return float(f"{z:.3g}") if isinstance(z, float) else z


def _frame(plain: dict[str, Any], height: float, summary: str) -> str:
    from plotly.io import to_html

    page = to_html(plain, validate=False, include_plotlyjs="cdn", config=CONFIG)
    source = page.replace("&", "&amp;").replace('"', "&quot;")
    style = f"width: 100%; height: {height + FRAME:.0f}px; border: 0"
    return f'<iframe srcdoc="{source}" title="{html.escape(summary)}" style="{style}"></iframe>'


def words(summary: str) -> str:
    """The sentence below a figure in a cell of its own, as HTML, with the look that a panel brings to its page."""
    return FIGURE_LOOK + sentence(summary)


def sentence(summary: str) -> str:
    """The sentence below a figure, as HTML."""
    return f'<p class="glora-says">{html.escape(summary)}</p>'
