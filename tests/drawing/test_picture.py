"""A figure and its words are one object, made by one function a record, which `show` finds by the record's type."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from unittest import mock

import plotly.graph_objects as go
import pytest

from glora_lab import figures, records
from glora_lab.drawing import picture
from glora_lab.drawing.picture import DRAWN_BY, Picture, apart, draw, draws
from glora_lab.page.figure_slot import PLOTLY
from glora_lab.panels import show
from glora_lab.records import Record
from tests.ideas.literal import RUNS


@dataclass(frozen=True, eq=False)
class Dots(Record):
    count: int


def draw_dots(dots: Dots, *, twice: bool = False) -> Picture:
    """Dots in a row."""
    if not dots.count:
        raise ValueError("`dots` (=0) must be at least one")
    title = f"{dots.count * (1 + twice)} dots"
    return draw([{"type": "bar", "y": [dots.count]}], title, f"There are {title}.", height=200, formula="<i>n</i>")


def test_a_picture_is_taken_apart_under_the_public_names() -> None:
    plot_dots, describe_dots = apart(draw_dots)
    assert plot_dots(Dots(3), twice=True).layout.title.text == "6 dots"
    assert describe_dots(Dots(3)) == "There are 3 dots."
    assert (plot_dots.__name__, describe_dots.__name__) == ("plot_dots", "describe_dots")
    assert plot_dots.__doc__ == "Dots in a row." and describe_dots.__doc__ == "The figure in words."
    assert list(inspect.signature(describe_dots).parameters) == ["dots", "twice"]
    with pytest.raises(ValueError, match="at least one"):
        describe_dots(Dots(0))


def test_a_docstring_is_taken_apart_as_well() -> None:
    def draw_told(dots: Dots) -> Picture:
        """Dots in a row.

        In words: how many
        there are.

        They are blue.

        Args:
            dots: at least one.

        Raises:
            ValueError: for none.
        """
        return draw_dots(dots)

    both = "Args:\n    dots: at least one.\n\nRaises:\n    ValueError: for none."
    plot_told, describe_told = apart(draw_told)
    assert plot_told.__doc__ == f"Dots in a row.\n\nThey are blue.\n\n{both}"
    assert describe_told.__doc__ == f"How many\nthere are.\n\n{both}"


def test_the_halves_say_what_they_return() -> None:
    plot_dots, describe_dots = apart(draw_dots)
    kinds = [inspect.signature(half).return_annotation for half in (plot_dots, describe_dots)]
    assert kinds == [half.__annotations__["return"] for half in (plot_dots, describe_dots)] == [go.Figure, str]
    assert describe_dots.__annotations__["dots"] == draw_dots.__annotations__["dots"] == "Dots"


def test_show_finds_the_picture_of_a_record_it_has_never_heard_of() -> None:
    with mock.patch.dict(DRAWN_BY), mock.patch("glora_lab.ideas.show.display") as display:
        with pytest.raises(
            ValueError, match=r"`what` \(a Dots\) has no picture; these have one: Agreement, BlockCut, .*XrayReport"
        ):
            show(Dots(2))
        draws(Dots)(draw_dots)
        show(Dots(2))
    formula, drawn, words = (call.args[0] for call in display.call_args_list)
    assert formula["text/html"] == "<i>n</i>" and drawn[PLOTLY]["layout"]["title"]["text"] == "2 dots"
    assert drawn["text/plain"] == "There are 2 dots." and "There are 2 dots." in words["text/html"]


def test_a_picture_that_was_drawn_is_its_own() -> None:
    drawn = draw_dots(Dots(2), twice=True)
    assert picture.picture_of(drawn) is drawn


def test_every_public_figure_is_half_of_a_picture_that_show_finds() -> None:
    names = {drawing.__name__.removeprefix("draw_") for drawing in DRAWN_BY.values()}
    names |= {"merge_errors"}  # a second picture of a record, which show is asked for by its function
    words_alone = {"describe_equation", "describe_low_rank_equation", "describe_race"}
    assert {name for name in figures.__all__ if name.startswith("plot_")} == {f"plot_{name}" for name in names}
    described = {name for name in figures.__all__ if name.startswith("describe_")} - words_alone
    assert described == {f"describe_{name}" for name in names}
    assert {record.__name__ for record in DRAWN_BY} <= set(records.__all__)


def test_both_halves_are_those_of_the_whole() -> None:
    whole = DRAWN_BY[type(RUNS[0])](RUNS)
    assert figures.plot_runs(RUNS) == whole.figure and figures.describe_runs(RUNS) == whole.words
    assert isinstance(whole, picture.Picture)
