"""The cut as a picture of the page, which moves from one k to the next; a block is chosen by a click or the arrow keys.

Decision: a widget of our own, 250 lines that travel once a panel. A plotly FigureWidget would bring a click back to
Python as well, with five megabytes of JavaScript in every notebook and its first picture again after a reload, and it
moves no pieces. The page lays out and computes nothing: colours and words come from `cut_cells`.
"""

from __future__ import annotations

from pathlib import Path

import anywidget
import traitlets

from glora_lab.page.controls.widgets import Steady

HERE = Path(__file__)


class BlockChooser(Steady, anywidget.AnyWidget):
    """`grid` is what `cut_cells` returns; `selected` is the chosen block [m, n], set from either side; `opened` says
    whether one was chosen yet. `k` is what the reader asked for last in the picture, 0 before."""

    # Their text and not their paths: of a file anywidget keeps every widget that shows it, to tell it of changes.
    _esm = HERE.with_suffix(".js").read_text(encoding="utf-8")
    _css = HERE.with_suffix(".css").read_text(encoding="utf-8")

    grid = traitlets.Dict().tag(sync=True)
    selected = traitlets.List(traitlets.Int(), [0, 0], minlen=2, maxlen=2).tag(sync=True)
    opened = traitlets.Bool(False).tag(sync=True)
    k = traitlets.Int(0).tag(sync=True)
