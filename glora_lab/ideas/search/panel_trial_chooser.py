"""The trials as a picture of the page in which one is chosen, by a click or the arrow keys, and a limit that moves.

Decision: a widget of our own. A drawing of plotly's takes a tenth of a second for two thousand points, and a limit that
is dragged wants one for each move; here points are sent when there are new ones, and a limit is one number.
"""

from __future__ import annotations

from pathlib import Path

import anywidget
import traitlets

from glora_lab.page.controls.widgets import Steady

HERE = Path(__file__)


class TrialChooser(Steady, anywidget.AnyWidget):
    """`points` is what `search_points` returns; `chosen` is the place of a trial in it, set from either side, -1 for
    none. `limit` is where its line stands, from 0 to 1, and `note` what is said of the limit and the chosen trial."""

    # Their text and not their paths: of a file anywidget keeps every widget that shows it, to tell it of changes.
    _esm = HERE.with_suffix(".js").read_text(encoding="utf-8")
    _css = HERE.with_suffix(".css").read_text(encoding="utf-8")

    points = traitlets.Dict().tag(sync=True)
    chosen = traitlets.Int(-1).tag(sync=True)
    limit = traitlets.Float(1.0).tag(sync=True)
    note = traitlets.Unicode().tag(sync=True)
