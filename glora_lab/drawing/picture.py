"""A figure and the same in words: what a record becomes, and what a page, a cell and an export are given.

A record's picture is made by one function, `draw_X`, and whoever cannot see the figure reads what was written with it.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import Any, NamedTuple, ParamSpec, TypeVar

import plotly.graph_objects as go

from .checked import checked
from .plain import plain
from .theme import TEMPLATE, TWO_LINES

Given = ParamSpec("Given")
Half = TypeVar("Half")
IN_WORDS = "In words: "  # begins the paragraph of a docstring that is about the words

HEIGHT = 450  # pixels, plotly's own where a figure says nothing
DRAWN_BY: dict[type, Callable[..., Picture]] = {}  # record → the function that makes its picture


class Drawn(NamedTuple):
    """What a figure is made of."""

    traces: list[dict[str, Any]]
    layout: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure, its words, and as HTML the formula that stands above it, where it has one.

    Attributes:
        drawn: plotly's figure, or the traces and the layout that one is made of when it is asked for.
        words: what it shows, for whoever cannot see it.
        formula: HTML.
    """

    drawn: go.Figure | Drawn
    words: str
    formula: str = ""

    @cached_property
    def figure(self) -> go.Figure:
        """Plotly's object, checked by plotly, and the caller's to change."""
        return go.Figure(*self.drawn) if isinstance(self.drawn, Drawn) else self.drawn

    @property
    def height(self) -> float:
        """Pixels."""
        return self.drawn.layout["height"] or HEIGHT

    def plain(self) -> dict[str, Any]:
        """The figure as plotly's JSON, made anew each time."""
        if isinstance(self.drawn, Drawn):
            return plain(*self.drawn)
        told: dict[str, Any] = json.loads(self.drawn.to_json())
        return told


def draw(
    traces: Iterable[dict[str, Any]],
    title: str,
    words: str,
    *,
    height: int,
    notes: Iterable[dict[str, Any]] = (),
    formula: str = "",
    **layout: Any,
) -> Picture:
    """A picture in the house's look; its title is the finding."""
    whole = {
        "template": TEMPLATE,
        "title": {"text": title, **({"pad": TWO_LINES} if "<br>" in title else {})},
        "height": height,
        "annotations": list(notes),
        **layout,
    }
    return Picture(Drawn(list(traces), whole), words, formula)


def draws(record: type) -> Callable[[Callable[Given, Picture]], Callable[Given, Picture]]:
    """Above the function that makes the picture of such a record, of several, or of several by name.

    What it is given is checked by its annotations, see `checked`.
    """

    def known(drawing: Callable[Given, Picture]) -> Callable[Given, Picture]:
        DRAWN_BY[record] = careful = checked(drawing)
        return careful

    return known


def picture_of(what: Any) -> Picture:
    """The picture of a record, of several of a kind, or of several by name; one that was drawn already as it is.
    ValueError where there is none."""
    if isinstance(what, Picture):
        return what
    example = what
    while isinstance(example, Mapping | list | tuple) and len(example):
        example = next(iter(example.values() if isinstance(example, Mapping) else example))
    if type(example) not in DRAWN_BY:
        known = ", ".join(sorted(record.__name__ for record in DRAWN_BY))
        raise ValueError(f"`what` (a {type(what).__name__}) has no picture; these have one: {known}")
    return DRAWN_BY[type(example)](what)


def apart(drawing: Callable[Given, Picture]) -> tuple[Callable[Given, go.Figure], Callable[Given, str]]:
    """The two halves of `draw_X` by themselves, `plot_X` and `describe_X`, with the arguments of the whole.

    So it is with its docstring: the paragraph that begins "In words: " is what `describe_X` says of itself.
    """
    of_figure, of_words = _docstrings(drawing)

    def half(verb: str, of: Callable[[Picture], Half], kind: type[Half], doc: str) -> Callable[Given, Half]:
        @wraps(drawing)
        def only(*args: Given.args, **kwargs: Given.kwargs) -> Half:
            return of(drawing(*args, **kwargs))

        only.__name__ = only.__qualname__ = drawing.__name__.replace("draw_", verb, 1)
        only.__doc__, only.__annotations__ = doc, {**drawing.__annotations__, "return": kind}
        only.__signature__ = inspect.signature(drawing).replace(return_annotation=kind)  # type: ignore[attr-defined]
        return only

    return (
        half("plot_", lambda picture: picture.figure, go.Figure, of_figure),
        half("describe_", lambda picture: picture.words, str, of_words),
    )


def _docstrings(drawing: Callable[..., Picture]) -> tuple[str, str]:
    """The halves of a docstring; arguments and errors are told in both."""
    paragraphs = (inspect.getdoc(drawing) or "").split("\n\n")
    said = [text.removeprefix(IN_WORDS) for text in paragraphs if text.startswith(IN_WORDS)] or ["the figure in words."]
    shared = [text for text in paragraphs if text.startswith(("Args:\n", "Raises:\n"))]
    about = [said[0][:1].upper() + said[0][1:], *shared]
    return "\n\n".join(text for text in paragraphs if not text.startswith(IN_WORDS)), "\n\n".join(about)
