"""What a panel adds to ipywidgets' sliders on the page: a name for those who hear the page instead of seeing it.

Decision: a script in an Output, and no anywidget. anywidget gives a widget two seconds to begin and then tells the page
of an error, and a page that draws ten panels at once on two cores takes longer.
"""

from __future__ import annotations

from pathlib import Path

import ipywidgets as widgets

SCRIPT = Path(__file__).with_suffix(".js")


class SliderNames(widgets.Output):
    """Shows nothing; gives every slider handle in its panel the words of the label beside it."""

    def __init__(self) -> None:
        script = {"application/javascript": SCRIPT.read_text(encoding="utf-8"), "text/plain": ""}
        outputs = ({"output_type": "display_data", "data": script, "metadata": {}},)
        super().__init__(outputs=outputs, layout=widgets.Layout(display="none"))
