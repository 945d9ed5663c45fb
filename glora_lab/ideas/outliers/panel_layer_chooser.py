"""The atlas as a picture of the page in which a layer is chosen, by a click or the arrow keys.

Decision: a widget of our own, as for blocks and trials. A plotly FigureWidget would bring a click back to Python too,
with five megabytes of JavaScript in every notebook, and no keyboard reaches its cells.
"""

from __future__ import annotations

from pathlib import Path

import anywidget
import traitlets

from glora_lab.page.controls.widgets import Steady

HERE = Path(__file__)


class LayerChooser(Steady, anywidget.AnyWidget):
    """`atlas` is what `atlas_cells` returns; `chosen` is the place of a layer in it, set from either side."""

    # Their text and not their paths: of a file anywidget keeps every widget that shows it, to tell it of changes.
    _esm = HERE.with_suffix(".js").read_text(encoding="utf-8")
    _css = HERE.with_suffix(".css").read_text(encoding="utf-8")

    atlas = traitlets.Dict().tag(sync=True)
    chosen = traitlets.Int(0).tag(sync=True)
