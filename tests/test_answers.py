"""Each lesson's page says beside its question which picture answers it, and leads there."""

from __future__ import annotations

from typing import Any

import pytest

from docs.lessons import answer_of, answered, as_page
from tests.course.lessons import Lesson, course, text

SVG = '<img src="data:image/svg+xml;base64,PHN2Zz4=">'
IN_WORDS = ("08", "09", "13")  # answered by what their cells say: a table, a recipe, exercises


@pytest.mark.parametrize("lesson", course(), ids=lambda lesson: lesson.number)
def test_a_lesson_names_the_pictures_that_answer_its_question(lesson: Lesson) -> None:
    assert bool(lesson.answers()) == (lesson.number not in IN_WORDS)
    page = answered(text(lesson.cells[0]), lesson)
    for cell, says in lesson.answers().items():
        assert says[:1].islower() or says.split()[0] in ("LoRA's", "ΔW")
        assert not says.endswith(".") and page.count(f'href="#{answer_of(cell)}"') == 1


def test_the_place_is_above_the_cell_and_has_the_question() -> None:
    lesson = next(lesson for lesson in course() if lesson.number == "05")
    (cell,) = (cell for cell in lesson.cells if cell["id"] in lesson.answers())
    above, shown = as_page({**cell, "outputs": _outputs(SVG)}, lesson, {})
    assert f'id="{answer_of(cell["id"])}"' in above["source"] and lesson.question in above["source"]
    assert shown["outputs"]


def test_a_cell_that_answers_without_a_picture_is_refused() -> None:
    lesson = next(lesson for lesson in course() if lesson.number == "05")
    (cell,) = (cell for cell in lesson.cells if cell["id"] in lesson.answers())
    with pytest.raises(SystemExit, match=f"{cell['id']}: it answers the question, and shows no picture"):
        list(as_page({**cell, "outputs": _outputs("words")}, lesson, {}))


def _outputs(page: str) -> list[dict[str, Any]]:
    return [{"output_type": "display_data", "data": {"text/html": page}, "metadata": {}}]
