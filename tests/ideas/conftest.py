"""Each figure that these tests ask for is checked: a page is given what plotly would have made of it."""

from __future__ import annotations

import pytest

from glora_lab.drawing.picture import Drawn, Picture
from tests.drawing.test_plain import as_plotly_says, told


@pytest.fixture(autouse=True)
def pages_are_given_what_plotly_makes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.module.__name__.rpartition(".")[2].startswith("test_figure"):
        return
    made = Picture.figure.func  # type: ignore[attr-defined]

    def checked(picture: Picture) -> object:
        figure = made(picture)
        if isinstance(picture.drawn, Drawn):
            assert told(picture.plain()) == as_plotly_says(figure)
        return figure

    monkeypatch.setattr(Picture, "figure", property(checked))
