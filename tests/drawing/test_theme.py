"""The colours keep the rules that the theme states: told apart by everyone, readable on light and dark."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from glora_lab.drawing import theme
from glora_lab.drawing.inks import DARK, INK_STYLE, INKS, LIGHT, contrast, ink, over
from glora_lab.drawing.picture import draw
from glora_lab.drawing.run_colors import kind_color, run_colors

# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB.
VISIONS = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.01182, 0.04294, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.3039],
    ],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
METHODS = {**theme.METHOD_COLORS, "a reader's own": theme.OWN_COLOR}
EVERY_COLOR = {**theme.PATH_COLORS, **METHODS, "right": theme.RIGHT, "wrong": theme.WRONG}
MARKS = {
    "paths": theme.PATH_COLORS,
    "methods": METHODS,
    "answers": {"right": theme.RIGHT, "wrong": theme.WRONG},
}
COMPARED = {
    f"{group}, {of}": {name: shade(color) for name, color in colors.items()}
    for group, colors in MARKS.items()
    for of, shade in {
        "marks": lambda color: color,
        "text on light": lambda color: INKS[color][0],
        "text on dark": lambda color: INKS[color][1],
    }.items()
}


def linear(color: str) -> np.ndarray:
    c = np.array([int(color[n : n + 2], 16) / 255 for n in (1, 3, 5)])
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lab(color: str, vision: str) -> np.ndarray:
    xyz = XYZ @ np.clip(np.array(VISIONS[vision]) @ linear(color), 0, 1) / (0.9505, 1, 1.089)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("name", EVERY_COLOR)
@pytest.mark.parametrize("page", [LIGHT, DARK])
def test_every_colour_is_readable_on_both_pages(name: str, page: str) -> None:
    assert contrast(EVERY_COLOR[name], page) >= 3


@pytest.mark.parametrize("place, page", [(0, LIGHT), (1, DARK)])
def test_every_colour_has_a_shade_for_text_on_either_page(place: int, page: str) -> None:
    marks = {*EVERY_COLOR.values(), theme.TEXT, theme.LINE}
    assert marks == set(INKS) and contrast("#777777", "#FFFFFF") == pytest.approx(4.478, abs=1e-3)
    assert {
        color: contrast(shades[place], page) for color, shades in INKS.items() if contrast(shades[place], page) < 4.5
    } == {}


def test_what_stands_over_a_colour_can_be_read() -> None:
    assert {color: over(color) for color in INKS if contrast(color, over(color)) < 4.5} == {}
    assert (over("#FFFF00"), over("#000080")) == ("#000000", "#FFFFFF")


def test_a_page_knows_every_shade_by_the_colour_that_a_figure_is_drawn_in() -> None:
    for color, (light, dark) in INKS.items():
        name = ink(color).partition("(")[2].partition(",")[0]
        red, green, blue = (int(color[n : n + 2], 16) for n in (1, 3, 5))
        assert f"{name}:{light};" in INK_STYLE and f"{name}:{dark};" in INK_STYLE
        assert f'[style*="fill: rgb({red}, {green}, {blue})"]{{fill:var({name}) !important}}' in INK_STYLE


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("group", COMPARED)
def test_colours_that_are_compared_can_be_told_apart(group: str, vision: str) -> None:
    for one, other in itertools.combinations(COMPARED[group], 2):
        apart = np.linalg.norm(lab(COMPARED[group][one], vision) - lab(COMPARED[group][other], vision))
        assert apart >= 25, f"{one} and {other} are {apart:.0f} apart"


def test_signed_values_have_no_colour_at_zero() -> None:
    places, colors = zip(*theme.DIVERGING, strict=True)
    assert places == pytest.approx([1 - p for p in reversed(places)])  # symmetric, so that zmid=0 is the middle
    assert colors[places.index(0.5)] == "#F7F7F7"


def test_the_template_lets_the_page_through_and_uploads_nothing() -> None:
    layout = theme.TEMPLATE.layout
    assert layout.paper_bgcolor == layout.plot_bgcolor == "rgba(0, 0, 0, 0)"
    assert "sendChartToCloud" in layout.modebar.remove
    notes = [theme.note(0.5, 1, "here")]
    figure = draw([{"type": "bar", "y": [1]}], "finding", "words", height=300, notes=notes, barmode="stack").figure
    assert (figure.data[0].type, figure.layout.annotations[0].text) == ("bar", "here")
    assert (figure.layout.title.text, figure.layout.height, figure.layout.barmode) == (
        "finding",
        300,
        "stack",
    )
    assert figure.layout.template.layout.font.color == theme.TEXT


def test_a_run_named_after_a_path_has_its_colour_and_no_two_share_one() -> None:
    colors = run_colors(["mine", "B", "LoRA", "yours", "mine"])
    assert colors["B"] == theme.PATH_COLORS["B"] and colors["LoRA"] == theme.METHOD_COLORS["LoRA"]
    assert len(set(colors.values())) == len(colors) == 4
    assert len(run_colors(map(str, range(40)))) == 40  # more runs than colours: they come round again


@pytest.mark.parametrize("run", ["Tropical", "mine", "Tropical, rank 4", "Turned digits: Tropical, rank 4 (2)"])
def test_a_method_of_a_readers_own_has_one_colour_everywhere(run: str) -> None:
    beside = run_colors(["LoRA, rank 4", "GLoRA A+B, rank 2", run, "GraLoRA, rank 4, k 4"])
    assert run_colors([run]) == {run: theme.OWN_COLOR} and beside[run] == theme.OWN_COLOR
    assert kind_color(run) == theme.OWN_COLOR == theme.method_color("Tropical")


@pytest.mark.parametrize(
    "run", ["A + B, rank 4", "all paths, rank 4", "BitFit", "C vector", "this run", "layers.0.fc1"]
)
def test_what_is_no_method_does_not_have_it(run: str) -> None:
    assert run_colors([run]) != {run: theme.OWN_COLOR} and kind_color(run) != theme.OWN_COLOR


def test_of_two_methods_of_a_readers_own_the_second_is_told_apart() -> None:
    colors = run_colors(["OuterProduct, rank 4", "Tropical, rank 4", "LoRA, rank 4"])
    assert colors["OuterProduct, rank 4"] == theme.OWN_COLOR and len(set(colors.values())) == 3


def test_what_no_method_made_is_grey() -> None:
    assert theme.method_color("") == theme.method_color("LoRA and GLoRA") == theme.FROZEN
    assert theme.method_color("stock LoRA") == theme.METHOD_COLORS["LoRA"]


@pytest.mark.parametrize(
    ("count", "text"), [(720, "720"), (18768, "18,768"), (4_718_592, "4.72 M"), (1_300_000_000, "1.3 B")]
)
def test_counts_read_as_people_say_them(count: int, text: str) -> None:
    assert theme.number(count) == text


def test_words() -> None:
    assert theme.listed("ABC") == "A, B and C" and theme.listed([]) == "nothing"
    assert theme.modes_in_words({"A": "lora", "B": "none", "E": "vector"}) == "A lora and E vector"
    assert theme.modes_in_words({"A": "none"}) == "every path is off"
    assert (theme.ending("q_proj", 6), theme.ending("0.q_proj", 7)) == ("q_proj", "…q_proj")
    assert theme.plain("<b>&") == "&lt;b&gt;&amp;"
    assert theme.struck("AB") == "A\u0336B\u0336"
