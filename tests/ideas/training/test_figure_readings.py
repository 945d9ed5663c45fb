"""Texts and what is said about them: a line each, a column for each model, the whole in words."""

from __future__ import annotations

import numpy as np

from glora_lab.figures import describe_readings, plot_readings
from glora_lab.records import Readings

LONG = "a <b>film</b> so long that nobody has ever seen the end of it, they say"
FROZEN = Readings(("good film", LONG), ("good", "bad"), ("bad", "bad"), np.array([0.51, 0.62]))
ADAPTED = Readings(FROZEN.examples, FROZEN.labels, FROZEN.labels, np.array([0.9, 0.8]))


def test_each_example_has_a_line_and_each_model_a_column() -> None:
    figure = plot_readings({"frozen": FROZEN, "adapted": ADAPTED})
    texts = [note.text for note in figure.layout.annotations]
    assert texts[:3] == ["<b>label</b>", "<b>frozen</b>", "<b>adapted</b>"]
    assert [text.partition(" <span")[0] for text in texts[3:7]] == [
        "good film",
        "good",
        "<b>bad ✗</b>",
        "<b>good ✓</b>",
    ]
    assert "51%" in texts[5] and len({note.y for note in figure.layout.annotations[3:7]}) == 1
    assert figure.layout.title.text == "frozen: <b>1 of 2</b>, adapted: <b>2 of 2</b> right"


def test_a_long_text_is_cut_shown_literally_and_whole_in_the_words() -> None:
    cut = plot_readings(FROZEN).layout.annotations[-3].text
    assert cut == "a &lt;b&gt;film&lt;/b&gt; so long that no…"
    assert describe_readings(FROZEN) == f"1 of 2 right (“good film” is good, read as bad; “{LONG}” is bad, right)."


def test_a_record_has_rows() -> None:
    assert FROZEN.to_dicts()[0] == {"example": "good film", "label": "good", "said": "bad", "confidence": 0.51}
    assert FROZEN.right == 1 and ADAPTED.right == 2
    assert plot_readings({}).layout.title.text == "Nothing has been asked yet"
