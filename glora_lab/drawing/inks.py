"""The colours as text, for which a light page and a dark one need shades of their own.

A mark is one colour on both pages, with a contrast of at least 3:1. Text wants 4.5:1, and no colour has that on white
and on #111111 at once: so each has a darker shade for light pages and a brighter one for dark pages, told apart by
everyone as the marks are (`tests/drawing/test_theme.py` holds the numbers). HTML names them as CSS variables, `ink`;
text in a figure keeps the mark's colour, and the page's style sheet, `INK_STYLE`, finds it there and changes it.
"""

from __future__ import annotations

from collections.abc import Iterable

from .theme import METHOD_COLORS, OWN_COLOR, PATH_COLORS, RIGHT, TEXT, WRONG

LIGHT, DARK = "#FFFFFF", "#111111"  # a light page, and JupyterLab's dark one
INKS = {
    PATH_COLORS["A"]: ("#A75A05", "#DB7A04"),
    PATH_COLORS["B"]: ("#6A59E4", "#847AFE"),
    PATH_COLORS["C"]: ("#0B7E5F", "#3CC19C"),
    PATH_COLORS["D"]: ("#9A0227", "#F84967"),
    PATH_COLORS["E"]: ("#8B5B98", "#AC78BD"),
    METHOD_COLORS["LoRA"]: ("#0977A4", "#479ECE"),
    METHOD_COLORS["GLoRA"]: ("#8D31CB", "#C459FB"),
    METHOD_COLORS["GraLoRA"]: ("#CF3704", "#FB5E0D"),
    METHOD_COLORS["full fine-tuning"]: ("#833F2B", "#C07B53"),
    METHOD_COLORS["frozen"]: ("#6F6F6F", "#999999"),
    OWN_COLOR: ("#7A10FC", "#FFD2FF"),
    RIGHT: ("#0C7A8A", "#2C99A8"),
    WRONG: ("#C44226", "#E1674D"),
    TEXT: ("#424242", "#D0D0D0"),
}
BLACK, WHITE = "#000000", "#FFFFFF"
# Who says that a page is dark: JupyterLab, Voilà and nbconvert, Colab, VS Code, and Sphinx's themes, of which furo
# leaves it to the reader's system unless it is asked.
DARK_PAGES = '[data-jp-theme-light="false"], html[theme="dark"], .vscode-dark, :is(html, body)[data-theme="dark"]'
AS_THE_SYSTEM = '@media (prefers-color-scheme: dark){body[data-theme="auto"]'


def ink(color: str) -> str:
    """A colour of the theme for text in HTML: the page's own shade of it, on a page without our style the light one."""
    return f"var({_variable(color)}, {INKS[color][0]})"


def over(color: str) -> str:
    """Black or white, whichever is easier to read over this colour, "#RRGGBB"; one of them has at least 4.5:1."""
    return BLACK if contrast(color, BLACK) > contrast(color, WHITE) else WHITE


def contrast(one: str, other: str) -> float:
    """WCAG 2's ratio of two colours "#RRGGBB", from 1 to 21."""
    dim, bright = sorted(map(_luminance, (one, other)))
    return (bright + 0.05) / (dim + 0.05)


def still_style(colors: Iterable[str]) -> str:
    """What a still picture (SVG) says of these colours where it lies by itself, and where it lies within a page."""
    shades = {color: INKS[color] for color in colors}
    light, dark = (_rules(".{}", {color: pair[n] for color, pair in shades.items()}) for n in (0, 1))
    nested = _rules(":is(" + DARK_PAGES.replace('"', "'") + ") .{}", {color: pair[1] for color, pair in shades.items()})
    alone = f"@media (prefers-color-scheme:dark){{{dark.replace('.ink', 'svg:root .ink')}}}"
    return f"<style>{light}{alone}{nested}</style>"


def still_class(color: str) -> str:
    """The class of text in this colour in a still picture."""
    return f"ink{color[1:].lower()}"


def _rules(selector: str, fills: dict[str, str]) -> str:
    return "".join(f"{selector.format(still_class(color))}{{fill:{fill}}}" for color, fill in fills.items())


def _variable(color: str) -> str:
    return f"--glora-{color[1:].lower()}"


def _luminance(color: str) -> float:
    channels = (int(color[n : n + 2], 16) / 255 for n in (1, 3, 5))
    linear = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return sum(share * c for share, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _as_rgb(color: str) -> str:
    """As a browser writes it in a style: "rgb(217, 120, 0)"."""
    return f"rgb({', '.join(str(int(color[n : n + 2], 16)) for n in (1, 3, 5))})"


def _ink_style() -> str:
    def shades(n: int) -> str:
        return "".join(f"{_variable(color)}:{pair[n]};" for color, pair in INKS.items())

    text = ".js-plotly-plot :is(text, tspan)"
    found = (f'{text}[style*="fill: {_as_rgb(c)}"]{{fill:var({_variable(c)}) !important}}' for c in INKS)
    lit = (
        f'.glora-lit:is([data-path="{path}"], .glora-path-{path}){{outline-color:var({_variable(color)})}}'
        for path, color in PATH_COLORS.items()
    )
    pages = [f":root{{{shades(0)}}}", f":is({DARK_PAGES}){{{shades(1)}}}", f"{AS_THE_SYSTEM}{{{shades(1)}}}}}"]
    return "\n".join([*pages, *found, *lit])


INK_STYLE = _ink_style()
