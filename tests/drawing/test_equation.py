"""The equation: what is lit, dimmed and struck, and that words say the same."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from glora_lab.drawing.theme import PATH_COLORS, PATHS
from glora_lab.figures import describe_equation, equation

MODES = {"A": "lora", "B": "none", "C": "vector", "D": "vector", "E": "none"}
INERT = {"D": "no <b0> here"}


class Terms(HTMLParser):
    """The attributes of every element that stands for a path, and the visible text."""

    def __init__(self, fragment: str) -> None:
        super().__init__()
        self.paths: dict[str, dict[str, str | None]] = {}
        self.label = self.text = ""
        self.depth = 0
        self.feed(fragment)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.depth += 1
        values = dict(attrs)
        self.label += values.get("aria-label") or ""
        if "data-path" in values:
            self.paths[str(values["data-path"])] = values

    def handle_endtag(self, tag: str) -> None:
        self.depth -= 1

    def handle_data(self, data: str) -> None:
        self.text += data


def test_each_path_is_on_off_or_inert() -> None:
    terms = Terms(equation(MODES, INERT)).paths
    states = {path: values["data-state"] for path, values in terms.items()}
    assert states == {"A": "on", "B": "off", "C": "on", "D": "inert", "E": "off"}
    assert terms["A"]["title"] == "A is on: lora"
    assert terms["D"]["title"] == "D is inert: no <b0> here"


def test_lit_dimmed_and_struck_are_told_by_words_as_well() -> None:
    text = Terms(equation(MODES, INERT)).text
    assert "lora" in text and text.count("off") == 2 and "D is inert: no <b0> here." in text
    fragment = equation(MODES, INERT)
    assert fragment.count("line-through") == 1 and fragment.count("opacity:.45") == 2


@pytest.mark.parametrize("path", PATHS)
def test_each_letter_has_its_colour(path: str) -> None:
    assert re.search(f'<b style="color:{PATH_COLORS[path]}">{path}</b>', equation({}))


def test_the_order_is_the_formula() -> None:
    text = Terms(equation(dict.fromkeys(PATHS, "vector"))).text.replace("vector", "")
    assert text == "Weff=W0+W0⊙A+Bbeff=b0+b0⊙D+E+W0·C"
    assert "W0·A+B" in Terms(equation(dict.fromkeys(PATHS, "none"), form="product")).text.replace("off", "")


def test_it_is_escaped_balanced_and_has_a_label() -> None:
    terms = Terms(equation(MODES, {"C": '"><script>alert(1)</script>'}))
    assert terms.depth == 0
    assert terms.paths["C"]["title"] == 'C is inert: "><script>alert(1)</script>'
    assert "<script>" not in equation(MODES, {"C": "<script>"})
    assert terms.label == describe_equation(MODES, {"C": '"><script>alert(1)</script>'})


def test_in_words() -> None:
    assert describe_equation(MODES, INERT) == (
        "W_eff = W0 + W0⊙A; b_eff = b0 + W0·C. A lora, C vector. B and E off. D inert: no <b0> here."
    )
    assert describe_equation({}, form="product") == "W_eff = W0; b_eff = b0. A, B, C, D and E off."
    assert "W0·A" in describe_equation({"A": "lora"}, form="product")
