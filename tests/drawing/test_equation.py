"""The equation: what is lit, dimmed and struck, and that words say the same."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from glora_lab.drawing.equation import PATH_SAYS
from glora_lab.drawing.inks import ink
from glora_lab.drawing.low_rank_equation import low_rank_equation, own_equation
from glora_lab.drawing.theme import FROZEN, PATH_COLORS, PATHS
from glora_lab.figures import describe_equation, equation

MODES = {"A": "lora", "B": "none", "C": "vector", "D": "vector", "E": "none"}
INERT = {"D": "no <b0> here"}


class Terms(HTMLParser):
    """The attributes of every element that stands for a path, and the visible text."""

    def __init__(self, fragment: str) -> None:
        super().__init__()
        self.paths: dict[str, dict[str, str | None]] = {}
        self.symbols: dict[str, str] = {}
        self.stops: list[str] = []
        self.label = self.text = ""
        self.depth = 0
        self.feed(fragment)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.depth += 1
        values = dict(attrs)
        if values.get("role") == "group":
            self.label += values["aria-label"] or ""
        if "tabindex" in values:
            self.symbols[str(values["aria-label"])] = str(values["title"])
            self.stops.append(str(values["tabindex"]))
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


def test_lit_dimmed_and_struck_are_told_by_words_as_well() -> None:
    text = Terms(equation(MODES, INERT)).text
    assert "lora" in text and text.count("off") == 2 and "D is inert: no <b0> here." in text
    fragment = equation(MODES, INERT)
    assert fragment.count("line-through") == 1 and "opacity" not in fragment  # which would dim it below 4.5:1
    assert fragment.count(f'style="color:{ink(FROZEN)}"') == 3


@pytest.mark.parametrize("path", PATHS)
def test_each_letter_has_its_colour(path: str) -> None:
    assert f'style="color:{ink(PATH_COLORS[path])}"><b>{path}</b>' in equation({path: "vector"})


def test_the_order_is_the_formula() -> None:
    text = Terms(equation(dict.fromkeys(PATHS, "vector"))).text.replace("vector", "")
    assert text == "Weff=W0+W0⊙A+Bbeff=b0+b0⊙D+E+W0·C"
    assert "W0·A+B" in Terms(equation(dict.fromkeys(PATHS, "none"), form="product")).text.replace("off", "")


def test_it_is_escaped_balanced_and_has_a_label() -> None:
    terms = Terms(equation(MODES, {"C": '"><script>alert(1)</script>'}))
    assert terms.depth == 0
    assert terms.symbols["C"] == f'{PATH_SAYS["C"]} It is inert: "><script>alert(1)</script>.'
    assert "<script>" not in equation(MODES, {"C": "<script>"})
    assert terms.label == describe_equation(MODES, {"C": '"><script>alert(1)</script>'})


def test_every_symbol_explains_itself_and_the_line_is_one_stop_of_the_keyboard() -> None:
    says = Terms(equation(MODES, INERT)).symbols
    assert set(says) == {"W_eff", "b_eff", "W0", "b0", *PATHS, "times", "times, entry by entry"}
    assert says["A"] == f"{PATH_SAYS['A']} It is on: lora." and says["B"].endswith("It is off.")
    assert says["D"].endswith("It is inert: no <b0> here.")
    for fragment in (equation(MODES), low_rank_equation("GraLoRA", r=8, scaling=1, k=2, hybrid_r=2), own_equation("X")):
        terms = Terms(fragment)
        assert len(terms.symbols) >= 3 and all(words.endswith(".") for words in terms.symbols.values())
        assert terms.stops == ["0", *["-1"] * (len(terms.stops) - 1)]


def test_in_words() -> None:
    assert describe_equation(MODES, INERT) == (
        "W_eff = W0 + W0⊙A; b_eff = b0 + W0·C. A lora, C vector. B and E off. D inert: no <b0> here."
    )
    assert describe_equation({}, form="product") == "W_eff = W0; b_eff = b0. A, B, C, D and E off."
    assert "W0·A" in describe_equation({"A": "lora"}, form="product")
