"""The exercises on paper: a sheet of questions to print, and their answers, which the tests give to the checks."""

from __future__ import annotations

import re
from pathlib import Path

from tests.checks.answers import ANSWERS
from tests.course.lessons import course, text

QUESTION = re.compile(r"^\*\*\d+\. ", re.MULTILINE)
CHECK = re.compile(r"checks\.check_(\w+)\(answer\)")
SHEET = """\
# Exercise sheet

Twelve questions from the course; a number in brackets is the lesson that helps. In a notebook they check themselves:
[the last lesson](../lessons/{name}).

{questions}
"""
SOLUTIONS = """\
# Answers to the exercise sheet

Each line of Python is the answer that its check accepts.

{answers}
"""


def write(folder: Path) -> None:
    exercises = course()[-1]
    texts = [text(cell) for cell in exercises.cells if cell["cell_type"] == "markdown"]
    questions = [linked(one[found.start() :]) for one in texts if (found := QUESTION.search(one))]
    asked = [found[1] for cell in exercises.cells if (found := CHECK.search(text(cell)))]
    assert len(questions) == len(asked) == len(ANSWERS), "an exercise has a question, a check and an answer"
    lined = "\n\n".join(f"{one}\n\n<div class='answer-lines'></div>" for one in questions)
    (folder / "exercise_sheet.md").write_text(SHEET.format(name=exercises.path.name, questions=lined), encoding="utf-8")
    answers = "\n\n".join(f"**{n}.**\n\n```python\n{ANSWERS[name].solution}\n```" for n, name in enumerate(asked, 1))
    (folder / "exercise_answers.md").write_text(SOLUTIONS.format(answers=answers), encoding="utf-8")


def linked(question: str) -> str:
    """Links between lessons, as a page of another folder has them."""
    return re.sub(r"\]\((\d\d_\w+\.ipynb)\)", r"](../lessons/\1)", question)
