"""What models write: every prompt, every model, every character as it is."""

from __future__ import annotations

from glora_lab.drawing.theme import FROZEN, METHOD_COLORS, TEXT
from glora_lab.figures import describe_writing, plot_writing
from glora_lab.ideas.training.figure_writing import ADAPTED
from glora_lab.records import Writing

BEFORE = Writing(("A  <b>", "So "), ("ll is\n", "it is"))
AFTER = Writing(("A  <b>", "So "), ("LL", "Is"))


def test_the_prompt_stands_before_what_follows_it() -> None:
    (first, second) = plot_writing(BEFORE).layout.annotations
    assert first.text.endswith(">A\u00a0\u00a0&lt;b&gt;</span><b>ll\u00a0is↵</b>") and second.text.endswith(
        "<b>it\u00a0is</b>"
    )
    assert first.y == 1 > second.y > 0
    assert "mono" in first.font.family and first.font.color == TEXT  # of no model in particular


def test_the_lines_of_several_models_stand_together_by_prompt() -> None:
    figure = plot_writing({"frozen": BEFORE, "LoRA, rank 4": AFTER, "<mine>": AFTER})
    lines = [note for note in figure.layout.annotations if note.xanchor == "left"]
    names = [note for note in figure.layout.annotations if note.xanchor == "right"]
    assert [note.text for note in names] == ["<b>frozen</b>", "<b>LoRA, rank 4</b>", "<b>&lt;mine&gt;</b>"] * 2
    assert [note.y for note in names] == [note.y for note in lines] == sorted((n.y for n in lines), reverse=True)
    assert [note.font.color for note in names[:3]] == [FROZEN, METHOD_COLORS["LoRA"], ADAPTED]
    assert 0 < lines[-1].y < lines[0].y == 1


def test_the_title_says_how_many_letters_are_capitals() -> None:
    assert plot_writing(AFTER).layout.title.text == "<b>75%</b> of the letters written are capitals"
    both = plot_writing({"frozen": BEFORE, "adapted": AFTER}).layout.title.text
    assert both == "frozen: <b>0%</b>, adapted: <b>75%</b> of the letters written are capitals"
    assert plot_writing({}).layout.title.text == "Nothing has been written yet"


def test_in_words() -> None:
    assert describe_writing(AFTER) == "after “A  <b>” comes “LL”; after “So ” comes “Is”."
    assert describe_writing({"frozen": BEFORE}) == "frozen: after “A  <b>” comes “ll is↵”; after “So ” comes “it is”."


def test_the_share_of_capitals_is_that_of_letters() -> None:
    assert Writing(("x",), ("AB c1!\n",)).capitals == 2 / 3
    assert Writing(("AB",), ("12",)).capitals == 0
    assert BEFORE.to_dicts()[1] == {"prompt": "So ", "text": "it is"}
