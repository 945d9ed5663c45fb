"""What a panel adds to ipywidgets' sliders on the page: a name for those who hear the page instead of seeing it."""

from __future__ import annotations

from pathlib import Path

import anywidget


class SliderNames(anywidget.AnyWidget):
    """Shows nothing; gives every slider handle in its panel the words of the label beside it."""

    _esm = Path(__file__).with_suffix(".js")
