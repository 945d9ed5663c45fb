"""The block grid as cells of a page, one of which is chosen by a click or with the arrow keys.

Decision: a widget of our own, 150 lines that travel once a panel. A plotly FigureWidget would bring a click back to
Python as well, with five megabytes of JavaScript in every notebook and its first picture again after a reload. The
page lays cells out and computes nothing: colours and words come from `figures.block_cells`.
"""

from __future__ import annotations

from pathlib import Path

import anywidget
import traitlets

from glora_lab.page.controls.widgets import Steady

HERE = Path(__file__)


class BlockChooser(Steady, anywidget.AnyWidget):
    """`grid` is what `block_cells` returns; `selected` is the chosen block [m, n], set from either side."""

    # Their text and not their paths: of a file anywidget keeps every widget that shows it, to tell it of changes.
    _esm = HERE.with_suffix(".js").read_text(encoding="utf-8")
    _css = HERE.with_suffix(".css").read_text(encoding="utf-8")

    grid = traitlets.Dict().tag(sync=True)
    selected = traitlets.List(traitlets.Int(), [0, 0], minlen=2, maxlen=2).tag(sync=True)
