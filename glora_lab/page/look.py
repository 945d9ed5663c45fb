"""What a panel brings to its page: how it looks on a light page and on a dark one, and what the page does by itself.

The scripts keep a figure's graph from picture to picture (`figures.js`), name sliders and let a panel fill the window
(`stage.js`), show explanations (`explain.js`), light up together what is of one path or one channel (`light.js`), and
take steps back and copy the state (`state_tools.js`). What a script adds is missing where none runs, as in Colab, and
nothing else is. The first, third and fourth are for the whole page, and begin once.

Decision: scripts in an Output, and no anywidget. anywidget gives a widget two seconds to begin and then tells the page
of an error, and a page that draws ten panels at once on two cores takes longer.
"""

from __future__ import annotations

from pathlib import Path

from glora_lab.drawing.inks import INK_STYLE
from glora_lab.page.controls import widgets


def _read(*names: str) -> list[str]:
    return [(Path(__file__).parent / name).read_text(encoding="utf-8") for name in names]


FIGURE_LOOK = f"<style>{_read('look.css')[0]}\n{INK_STYLE}</style>"  # of a figure, in a panel or by itself
PANEL_LOOK = f"<style>{_read('stage.css')[0]}</style>{FIGURE_LOOK}"
SCRIPTS = ("figures.js", "stage.js", "explain.js", "light.js", "state_tools.js")
SCRIPT = "\n".join(f"{{\n{script}}}" for script in _read(*SCRIPTS))


class PageScript(widgets.Output):
    """Shows nothing; runs a script in the page, a panel's by default. In it `element` is the output itself."""

    def __init__(self, script: str = SCRIPT) -> None:
        data = {"application/javascript": script, "text/plain": ""}
        outputs = ({"output_type": "display_data", "data": data, "metadata": {}},)
        super().__init__(outputs=outputs, layout={"display": "none"})
