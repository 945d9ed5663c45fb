"""One look for every figure: colours, scales, the plotly template.

The five path colours were chosen together: any two differ by a CIE76 distance of at least 25 under normal
vision, protanopia, deuteranopia and tritanopia, and each has a contrast of at least 3:1 against a white page
and JupyterLab's dark one (#111111). The method colours, with the one of a reader's own
method, keep the same rules among themselves. The paper
is transparent, so that one figure serves both pages; text in these colours has shades for each (`inks.py`).
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from typing import Any

import plotly.graph_objects as go

PATHS = ("A", "B", "C", "D", "E")
PATH_COLORS = {"A": "#D97800", "B": "#4F6BFF", "C": "#14A37F", "D": "#C2183C", "E": "#8A5796"}
FROZEN = "#808080"
METHOD_COLORS = {
    "LoRA": "#489CCC",
    "GLoRA": "#9030CC",
    "GraLoRA": "#FC600C",
    "full fine-tuning": "#905430",
    "frozen": FROZEN,
}
OWN_COLOR = "#7D0EFC"  # of a method that its reader has written: the palette has room for one more
# Runs have names of their own: methods' colours first, for a run is rarely one path.
RUN_COLORS = ("#9030CC", "#489CCC", "#FC600C", "#905430", *PATH_COLORS.values())
RIGHT, WRONG = "#0E8A9C", "#DB4A2B"
TEXT = "#757575"
LINE = "#808080"  # of axes, and of limits in a plot
GRID = "rgba(128, 128, 128, 0.20)"  # decoration: every value that it helps to read stands at an axis
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

# Signed values: blue below zero, red above, always drawn with zmid = 0. Sizes: from dark (none) to bright.
DIVERGING = (
    (0.0, "#053061"),
    (0.2, "#2166AC"),
    (0.35, "#67A9CF"),
    (0.5, "#F7F7F7"),
    (0.65, "#EF8A62"),
    (0.8, "#B2182B"),
    (1.0, "#67001F"),
)
SEQUENTIAL = "Cividis"
GREYS = ((0.0, "#FFFFFF"), (1.0, "#101010"))

OUT_AXIS = "o, output channel"
IN_AXIS = "i, input channel"

# Plotly's toolbar costs a keyboard user a tab stop per button, and one of them uploads the chart.
HIDDEN_BUTTONS = (
    "sendChartToCloud",
    "lasso2d",
    "select2d",
    "zoom2d",
    "pan2d",
    "zoomIn2d",
    "zoomOut2d",
    "autoScale2d",
    "toggleSpikelines",
    "hoverClosestCartesian",
    "hoverCompareCartesian",
)

_AXIS = {
    "gridcolor": GRID,
    "linecolor": LINE,
    "zerolinecolor": LINE,
    "tickcolor": LINE,
    "ticks": "outside",
    "ticklen": 4,
    "title": {"standoff": 6, "font": {"size": 12}},
    "tickfont": {"size": 11},
    "automargin": True,
}

TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": FONT, "size": 12, "color": TEXT},
        "title": {
            **{"x": 0.0, "xanchor": "left", "xref": "container", "y": 1.0, "yanchor": "top", "yref": "container"},
            **{"font": {"size": 15}, "pad": {"l": 8, "t": 12}},
        },
        "paper_bgcolor": "rgba(0, 0, 0, 0)",
        "plot_bgcolor": "rgba(0, 0, 0, 0)",
        "margin": {"l": 56, "r": 16, "t": 64, "b": 48},
        "colorway": list(RUN_COLORS),
        "modebar": {"remove": list(HIDDEN_BUTTONS), "bgcolor": "rgba(0, 0, 0, 0)", "color": LINE, "activecolor": TEXT},
        "hoverlabel": {"font": {"family": FONT}},
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom", "title": {"text": ""}},
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "bargap": 0.25,
    }
)

TWO_LINES = {"l": 8, "t": 22}  # plotly hangs a title of two lines half a line higher
DASHES = ("solid", "dot", "dash", "longdash", "dashdot", "longdashdot")


def path_color(name: str) -> str:
    """The colour of a path ("A" to "E") or of a method ("LoRA", …); the frozen grey for anything else."""
    return PATH_COLORS.get(name) or METHOD_COLORS.get(name, FROZEN)


def method_color(method: str) -> str:
    """A method's colour, stock PEFT's as ours; of a class that is none of them the one of methods of a reader's own."""
    name = method.removeprefix("stock ")
    own = name.isidentifier() and name not in METHOD_COLORS and name not in PATH_COLORS
    return OWN_COLOR if own else path_color(name)


def dashes(methods: Iterable[str]) -> list[str]:
    """A dash for each line: those of one method have one colour, and differ in it."""
    drawn = list(methods)
    return [DASHES[drawn[:n].count(method) % len(DASHES)] for n, method in enumerate(drawn)]


def note(
    x: float,
    y: float,
    text: str,
    color: str = TEXT,
    *,
    size: int = 13,
    anchor: tuple[str, str] = ("center", "bottom"),
    **more: Any,
) -> dict[str, Any]:
    """Text at a place in the paper's own units, 0 to 1 from left to right and from bottom to top."""
    place = {"x": x, "y": y, "xref": "paper", "yref": "paper", "xanchor": anchor[0], "yanchor": anchor[1]}
    return {"text": text, "showarrow": False, "font": {"color": color, "size": size}, **place, **more}


def plain(text: str) -> str:
    """Text as plotly shows it literally: layer and run names come from users and may hold markup."""
    return html.escape(str(text), quote=False)


def ending(text: str, letters: int) -> str:
    """A name in at most so many letters: of a longer one its end, which tells layers apart."""
    return text if len(text) <= letters else f"…{text[1 - letters :].lstrip('.')}"


def number(count: int) -> str:
    """A count as people read it: 720, 18,768, 4.72 M, 1.3 B."""
    for size, unit in ((1_000_000_000, "B"), (1_000_000, "M")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:,}"


def struck(text: str) -> str:
    """Text crossed out with Unicode: plotly 5 knows no <s>."""
    return "".join(letter + "\u0336" for letter in text)


def small(text: str, size: int = 11) -> str:
    """Text in smaller letters, beside or below a name."""
    return f"<span style='font-size:{size}px'>{text}</span>"


def by_name(given: Any, one: type, name: str = "") -> dict[str, Any]:
    """What a figure takes one of, or several by name, as several: of the one the name is this."""
    return {name: given} if isinstance(given, one) else dict(given)


def listed(items: Iterable[str]) -> str:
    """Words in a row: "A", "A and B", "A, B and C"."""
    *head, last = list(items) or ["nothing"]
    return f"{', '.join(head)} and {last}" if head else last


def modes_in_words(modes: Mapping[str, str]) -> str:
    """The paths that are on: "A lora and E vector", or "every path is off"."""
    on = [f"{path} {mode}" for path, mode in modes.items() if mode != "none"]
    return listed(on) if on else "every path is off"
