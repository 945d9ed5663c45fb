"""Plotly's text, HTML of five tags, as SVG: <br>, <b>, <i>, <sub>, <sup> and a span's colour and size."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

from glora_lab.drawing.inks import INKS, still_class
from glora_lab.drawing.theme import FONT, TEXT

WIDE = 0.54  # of a letter, in its height: no browser is asked
LINE = 1.3  # of a line, in its letters' height
NOT_IN_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
SHIFTS = {"sub": ("0.3em", "-0.3em"), "sup": ("-0.4em", "0.4em")}  # down and back up, and the other way round
ANCHORS = {"left": "start", "center": "middle", "right": "end"}


def safe(text: str) -> str:
    """Text as XML holds it, in attributes too; what XML cannot hold is left out."""
    return html.escape(NOT_IN_XML.sub("", str(text)))


def bare(text: str) -> str:
    """The text without its tags."""
    return html.unescape(re.sub(r"<[^>]*>", "", str(text)))


def lines_of(text: str) -> list[str]:
    return re.split(r"<br\s*/?>", str(text))


def width_of(text: str, size: float) -> float:
    """About how wide a text is, in pixels."""
    return max(len(bare(line)) for line in lines_of(text)) * size * WIDE


def wrapped(text: str, pixels: float, size: float) -> str:
    """The text in lines of at most so many pixels, as far as its words allow; a tag goes on over a line's end."""
    return "<br>".join(part for line in lines_of(text) for part in _broken(line, pixels, size))


def _broken(line: str, pixels: float, size: float) -> Iterator[str]:
    opened: list[str] = []
    begun = ""
    for part in re.findall(r"<[^>]*>|[^<\s]+\s*|\s+|<", line):
        if part.startswith("<") and part != "<":
            opened = opened[:-1] if part.startswith("</") else [*opened, part]
        elif bare(begun).strip() and width_of(begun + part.rstrip(), _size(opened, size)) > pixels:
            yield begun.rstrip() + "".join(f"</{tag[1:-1].split()[0]}>" for tag in reversed(opened))
            begun = "".join(opened)
        begun += part
    yield begun


def _size(opened: list[str], size: float) -> float:
    told = [float(found[1]) for tag in opened if (found := re.search(r"font-size\s*:\s*([\d.]+)", tag))]
    return told[-1] if told else size


def written(
    x: float, y: float, text: str, font: dict[str, Any], anchor: tuple[str, str] = ("left", "bottom"), turn: float = 0
) -> str:
    """The text at a place, `anchor` being the point of it that is there."""
    size, lines = float(font.get("size", 12)), lines_of(text)
    down = {"top": 0.95, "middle": 0.35 - (len(lines) - 1) * LINE / 2, "bottom": -0.4 - (len(lines) - 1) * LINE}
    first = y + size * down[anchor[1]]
    if len(lines) == 1 and "<" not in text:
        held, place = safe(html.unescape(text)), f' x="{x:.1f}" y="{first:.1f}"'
    else:
        starts = ((line, first + n * LINE * size) for n, line in enumerate(lines))
        held = "".join(f'<tspan x="{x:.1f}" y="{at:.1f}">{"".join(_spans(line))}</tspan>' for line, at in starts)
        place = ""
    family = f' font-family="{safe(font["family"])}"' if font.get("family", FONT) != FONT else ""
    turned = f' transform="rotate({turn:g} {x:.1f} {y:.1f})"' if turn else ""
    return (
        f'<text{place}{_filled(font.get("color", TEXT))} font-size="{size:g}"{family} '
        f'text-anchor="{ANCHORS[anchor[0]]}"{turned}>{held}</text>'
    )


def _spans(line: str) -> Iterator[str]:
    """Each run of letters in the tags that are open there."""
    opened: list[str] = []
    back = ""
    for part in re.findall(r"<[^>]*>|[^<]+|<", line):
        tag = re.fullmatch(r"<(/?)(b|i|sub|sup|span)((?:\s[^>]*)?)>", part)
        if tag is None:
            around = "".join(_attributes(opened))
            shift = f' dy="{back}"' if back and not any(SHIFTS.keys() & {name.split()[0]} for name in opened) else ""
            yield f"<tspan{around}{shift}>{safe(html.unescape(part))}</tspan>"
            back = "" if shift else back
        elif not tag[1]:
            opened.append(tag[2] + tag[3])
        elif opened:
            closed = opened.pop()
            back = SHIFTS.get(closed, ("", back))[1]


def _attributes(opened: list[str]) -> Iterator[str]:
    for tag in opened:
        name = tag.split()[0]
        if name == "b":
            yield ' font-weight="bold"'
        elif name == "i":
            yield ' font-style="italic"'
        elif name in SHIFTS:
            yield f' font-size="75%" dy="{SHIFTS[name][0]}"'
        for key, value in re.findall(r"(color|font-size)\s*:\s*([^;'\"]+)", tag):
            yield _filled(value) if key == "color" else f' {key}="{safe(value)}"'


def _filled(color: str) -> str:
    """A colour of the theme has a shade for each page, which the picture's style gives; any other is what it is."""
    if color not in INKS:
        return f' fill="{safe(color)}"'
    return f' class="{still_class(color)}" fill="{INKS[color][0]}"'
