"""The notebooks' form. That they run is nbmake's to say."""

from __future__ import annotations

import ast
import importlib.util
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.course.lessons import QUESTION, TO_TRY, Lesson, asserts_something, course
from tests.course.write import first_cell
from tests.course.write import notebook as written
from tests.source import NOTEBOOKS, cell_tree, code_cells

MAX_LINES = 12
DEFINES = "11_your_own_method"
UNGUESSED = (DEFINES,)  # its first panel is one to play with, after the answers

each_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)


def asserts(cell: dict) -> list[ast.Assert]:
    return [node for node in ast.walk(cell_tree(cell)) if isinstance(node, ast.Assert)]


def test_there_is_a_course() -> None:
    assert "00_start_here" in {notebook.stem for notebook in NOTEBOOKS}


@each_notebook
def test_nothing_is_stored(notebook: Path) -> None:
    assert "widgets" not in json.loads(notebook.read_text(encoding="utf-8"))["metadata"]
    for cell in code_cells(notebook):
        assert cell["outputs"] == [] and cell["execution_count"] is None, "".join(cell["source"])


@each_notebook
def test_nothing_is_defined(notebook: Path) -> None:
    """But for the one lesson that is about defining: a method, as a class and nothing else."""
    for cell in code_cells(notebook):
        lines = cell_tree(cell).body
        if notebook.stem == DEFINES and len(lines) == 1 and is_method(lines[0]):
            continue
        for node in itertools.chain.from_iterable(map(ast.walk, lines)):
            assert not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef), ast.unparse(node)


def is_method(node: ast.stmt) -> bool:
    """Whether it defines an adapter method of the reader's own."""
    return isinstance(node, ast.ClassDef) and [ast.unparse(base) for base in node.bases] == ["DeltaMethod"]


@each_notebook
def test_a_cell_is_read_at_a_glance(notebook: Path) -> None:
    for cell in code_cells(notebook):
        source = "".join(cell["source"])
        assert len(source.splitlines()) <= MAX_LINES, source


@each_notebook
def test_claims_are_asserted(notebook: Path) -> None:
    assert any(asserts(cell) for cell in code_cells(notebook))


@each_notebook
def test_the_last_cell_asserts_that_no_error_was_met(notebook: Path) -> None:
    last = code_cells(notebook)[-1]
    assert any("error" in ast.unparse(claim) for claim in asserts(last)), "".join(last["source"])


@each_notebook
def test_a_lesson_says_what_it_gives_and_how_long_it_takes(notebook: Path) -> None:
    lesson = Lesson(notebook)
    sitting = 30 if lesson.number != "13" else 60  # exercises take as many sittings as one likes
    assert lesson.title and 0 < lesson.minutes <= sitting
    assert len(QUESTION.findall(lesson.opening)) == 1 and lesson.question


def calls(cell: dict, name: str) -> bool:
    """Whether a cell calls a function or a method of this name, or of one that ends in it."""
    nodes = (node for node in ast.walk(cell_tree(cell)) if isinstance(node, ast.Call))
    return any(re.fullmatch(rf"(.+\.)?\w*{name}", ast.unparse(node.func)) for node in nodes)


@each_notebook
def test_a_lesson_asks_for_a_guess_before_its_main_panel(notebook: Path) -> None:
    """Question, guess, picture: the first panel of a lesson is held back by a guess, and so is every answer."""
    cells = code_cells(notebook)
    asking = [n for n, cell in enumerate(cells) if calls(cell, "Guess")]
    panels = [n for n, cell in enumerate(cells) if calls(cell, "Panel")]
    assert asking and asking[0] < min(panels, default=len(cells))
    if panels:
        first = cells[panels[0]]
        assert calls(first, "then") or notebook.stem in UNGUESSED, "".join(first["source"])
    answered = {name for cell in cells for name in answers(cell)}
    for n in asking:
        guess = ast.unparse(cell_tree(cells[n]).body[-1])  # the cell ends with the guess, which asks
        assert guess in answered, f"nobody answers {guess}"


def answers(cell: dict) -> Iterator[str]:
    """The guesses whose answer a cell gives: `x.then(…, answer=…)` or `x.answer = …`."""
    for node in ast.walk(cell_tree(cell)):
        if isinstance(node, ast.Call) and any(keyword.arg == "answer" for keyword in node.keywords):
            yield ast.unparse(node.func).removesuffix(".then")
        if isinstance(node, ast.Attribute) and node.attr == "answer" and isinstance(node.ctx, ast.Store):
            yield ast.unparse(node.value)


@each_notebook
def test_what_comes_after_an_answer_waits_for_the_guess_too(notebook: Path) -> None:
    """Who runs all cells at once would read below what the guess above holds back: from the answer to the end of its
    section, texts and pictures go through `then`."""
    answered = False
    for cell in Lesson(notebook).cells:
        if cell["cell_type"] == "markdown":
            answered = answered and "\n## " not in "\n" + "".join(cell["source"])
            continue
        answered = answered or any(answers(cell))
        called = {ast.unparse(node.func) for node in ast.walk(cell_tree(cell)) if isinstance(node, ast.Call)}
        assert not (answered and called & {"print", "show", "display"}), "".join(cell["source"])


@each_notebook
def test_no_lesson_has_its_reader_type_a_guess_into_a_cell(notebook: Path) -> None:
    for cell in code_cells(notebook):
        source = "".join(cell["source"])
        assert "# your guess" not in source and "You guessed" not in source, source


@each_notebook
def test_a_lesson_ends_with_questions_to_try(notebook: Path) -> None:
    asked = TO_TRY.search(Lesson(notebook).last_words)
    assert asked and "?" in asked.string[asked.start() :], (
        "the last text is `## To try` with a numbered list of questions"
    )


@pytest.mark.parametrize("notebook, following", list(itertools.pairwise(NOTEBOOKS)), ids=lambda path: path.stem)
def test_a_lesson_leads_to_the_next(notebook: Path, following: Path) -> None:
    lesson = Lesson(following)
    assert Lesson(notebook).last_words.endswith(f"\n\nNext: [{lesson.number} {lesson.title}]({following.name})")


@each_notebook
def test_the_generated_cells_are_as_generated(notebook: Path) -> None:
    assert notebook.read_text(encoding="utf-8") == written(Lesson(notebook)), "run `make readme`"


@each_notebook
def test_the_first_cell_gets_the_package_and_is_the_same_everywhere(notebook: Path) -> None:
    first = "".join(code_cells(notebook)[0]["source"])
    assert first == first_cell(notebook.stem) and len(first.splitlines()) <= 4


@each_notebook
def test_the_first_cell_gets_the_weights_that_the_lesson_asks_for(notebook: Path) -> None:
    first, *rest = ("".join(cell["source"]) for cell in code_cells(notebook))
    assert ("real]" in first) == any('"minilm"' in source for source in rest)


def test_where_the_package_is_there_the_first_cell_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    get_ipython = lambda: type("Shell", (), {"run_line_magic": lambda _, name, line: ran.append(f"{name} {line}")})()  # noqa: E731
    cell = compile(cell_tree({"source": first_cell()}), "first cell", "exec")
    exec(cell, {"get_ipython": get_ipython})
    assert ran == []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    exec(cell, {"get_ipython": get_ipython})
    (command,) = ran
    assert command.startswith("pip install --quiet") and "upgrade" not in command and "[lab]" not in command


@each_notebook
def test_a_claim_stands_on_an_assertion(notebook: Path) -> None:
    lesson = Lesson(notebook)
    cells = {cell["id"]: cell for cell in lesson.cells}
    for claim in lesson.claims():
        assert asserts_something(cells[claim.cell]), f"{claim.cell} asserts nothing"
        assert all(part and "|" not in part for part in (claim.claim, claim.source, claim.measured))


def test_a_second_verdict_stands_on_an_assertion_and_on_a_claim_of_another_lesson() -> None:
    claims = {claim.claim: claim for lesson in course() for claim in lesson.claims()}
    seconds = [second for lesson in course() for second in lesson.second_verdicts()]
    assert len({second.claim for second in seconds}) == len(seconds) >= 10
    for second in seconds:
        cells = {cell["id"]: cell for cell in second.lesson.cells}
        assert asserts_something(cells[second.cell]), f"{second.cell} asserts nothing"
        assert claims[second.claim].lesson != second.lesson and "|" not in second.measured
