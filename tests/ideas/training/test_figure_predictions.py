"""Images with answers: right and wrong by colour and by a mark."""

from __future__ import annotations

import dataclasses

import numpy as np

from glora_lab.drawing.theme import RIGHT, WRONG
from glora_lab.figures import describe_predictions, plot_predictions
from glora_lab.records import Predictions
from tests.ideas.literal import predictions


def test_each_image_is_shown_as_it_is_on_one_grey_scale() -> None:
    figure = plot_predictions(predictions())
    assert len(figure.data) == 3
    for trace, image in zip(figure.data, predictions().images, strict=True):
        np.testing.assert_array_equal(trace.z, image)
        assert (trace.zmin, trace.zmax) == (0, 11)
    assert figure.layout.yaxis.autorange == "reversed"  # row 0 is the top of a picture


def test_right_and_wrong_are_told_by_colour_and_by_a_mark() -> None:
    figure = plot_predictions(predictions())
    said = [(note.text.split("<br>")[0], note.font.color) for note in figure.layout.annotations]
    assert said == [
        ("<b>5 → 5 ✓</b>", RIGHT),
        ("<b>6 → 2 ✗</b>", WRONG),
        ("<b>7 → 7 ✓</b>", RIGHT),
    ]
    assert [figure.layout[f"xaxis{n}"].linecolor for n in ("", 2, 3)] == [RIGHT, WRONG, RIGHT]
    assert "40% sure" in figure.layout.annotations[1].text


def test_before_and_after_are_rows_that_share_nothing() -> None:
    figure = plot_predictions({"before": predictions(), "<after>": predictions()})
    assert len(figure.data) == 6 and len({trace.xaxis for trace in figure.data}) == 6
    upper, lower = figure.layout.yaxis.domain, figure.layout.yaxis9.domain
    assert upper[0] > lower[1]
    assert figure.layout.title.text == "before: <b>2 of 3</b>, &lt;after&gt;: <b>2 of 3</b> right"
    assert any(note.text == "<b>&lt;after&gt;</b>" for note in figure.layout.annotations)


def test_eight_are_shown_and_all_are_counted() -> None:
    many = Predictions(np.ones((20, 2, 2)), np.zeros(20, int), np.arange(20) % 2, np.ones(20))
    figure = plot_predictions(many)
    assert len(figure.data) == 8 and figure.layout.title.text == "<b>10 of 20</b> right"


def test_in_words() -> None:
    assert describe_predictions(predictions()) == "2 of 3 right (5 right, 6 read as 2, 7 right)."
    assert describe_predictions({"before": predictions()}).startswith("before: 2 of 3 right")


def test_classes_are_called_by_their_names() -> None:
    named = dataclasses.replace(
        predictions(), images=predictions().images - 3, classes=(*"abcde", "cat", "<b>", "elephant")
    )
    figure = plot_predictions(named)
    assert figure.layout.annotations[1].text.startswith("<b>&lt;b&gt; → c ✗</b>")
    assert figure.layout.annotations[2].text.startswith("<b>elephan → elephan ✓</b>")
    assert figure.data[0].zmin == -3 and "<b> read as c, elephant right" in describe_predictions(named)
