"""The exercises: each solution is right in the notebook's own cell, each wrong answer is refused with its hint."""

from __future__ import annotations

import ast
import functools
import html
import re
from typing import Any

import numpy as np
import peft
import pytest
import torch

from glora_lab import GloraConfig, checks
from glora_lab.checks.exercise import NotYet, exercise
from glora_lab.records import Verdict
from tests.checks.answers import ANSWERS
from tests.source import ROOT, code_cells

CELLS = ["".join(cell["source"]) for cell in code_cells(ROOT / "notebooks/13_exercises.ipynb")[1:]]  # [0] installs
OPEN = re.compile(r"^answer = \.\.\..*$", re.MULTILINE)
CHECKED = re.compile(r"checks\.check_(\w+)\(answer\)")
WRONG = [(name, wrong, hint) for name, answers in ANSWERS.items() for wrong, hint in answers.wrong]


@functools.cache
def asked() -> dict[str, str]:
    """Exercise → its cell."""
    return {found[1]: cell for cell in CELLS if (found := CHECKED.search(cell))}


@functools.cache
def namespace() -> dict[str, Any]:
    """What the notebook's other cells define, those of the end aside."""
    names: dict[str, Any] = {}
    for cell in CELLS:
        if not CHECKED.search(cell) and "verdicts.values()" not in cell:
            exec(cell, names)
    return names


@functools.cache
def verdict(name: str, answer: str) -> Verdict:
    """Of a cell in which `answer = ...` is replaced."""
    names = dict(namespace(), verdicts={})
    exec(OPEN.sub(lambda _: answer, asked()[name]), names)
    (said,) = names["verdicts"].values()
    return said


@pytest.fixture(autouse=True)
def no_check_stumbles() -> Any:
    checks.errors.clear()
    yield
    assert checks.errors == []


def test_every_exercise_has_a_cell_a_solution_and_three_wrong_answers() -> None:
    assert set(asked()) == set(ANSWERS) == {name.removeprefix("check_") for name in dir(checks) if "check_" in name}
    assert len(ANSWERS) == 12
    assert all(len(OPEN.findall(cell)) == 1 for cell in asked().values())
    assert all(len(answers.wrong) >= 3 for answers in ANSWERS.values())
    for answers in ANSWERS.values():
        ast.parse(answers.solution)


@pytest.mark.parametrize("name", ANSWERS)
def test_the_solution_is_right(name: str) -> None:
    said = verdict(name, ANSWERS[name].solution)
    assert said and said.right and said.answered and len(said.message) > 10, said


@pytest.mark.parametrize("name, answer, hint", WRONG)
def test_a_wrong_answer_is_refused_with_its_hint(name: str, answer: str, hint: str) -> None:
    said = verdict(name, answer)
    assert not said and said.answered and hint in said.message, said


@pytest.mark.parametrize("name", ANSWERS)
def test_a_hint_does_not_give_the_answer_away(name: str) -> None:
    """No number of the solution stands in a hint to another answer."""
    solved = dict(namespace(), verdicts={})
    exec(ANSWERS[name].solution, solved)
    hidden = [str(value) for value in _numbers(solved["answer"])]
    for wrong, _ in ANSWERS[name].wrong:
        told = set(re.findall(r"-?[\d.]*\d", verdict(name, wrong).message))
        given = set(re.findall(r"-?[\d.]*\d", wrong)) | {"0", "1"}  # what the reader wrote, and W0 and A1
        assert not (told - given) & set(hidden), (wrong, told)


def _numbers(answer: Any) -> list[Any]:
    if isinstance(answer, dict):
        return list(answer.values())
    return [answer] if isinstance(answer, int) else []


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("open_answer", ["answer = ...", "answer = None"])
def test_no_answer_is_no_wrong_answer(name: str, open_answer: str) -> None:
    said = verdict(name, open_answer)
    assert not said and not said.answered and "three dots" in said.message


NONSENSE = ["answer = object()", "answer = {}", "answer = []", "answer = 'x'", "answer = np.zeros((2, 3))",
            "answer = float('nan')", "answer = torch.zeros(3)", "answer = [None]", "answer = {'A': 'many'}",
            "answer = lambda: 3", "answer = True", "answer = torch.tensor(3)", "answer = np.array(3)",
            "answer = [[10**400]]", "answer = [10**5000]",
            "answer = [torch.ones(2, requires_grad=True)] * 2"]  # fmt: skip


@pytest.mark.parametrize("nonsense", NONSENSE)
@pytest.mark.parametrize("name", ANSWERS)
def test_nonsense_gets_a_kind_word_and_raises_nothing(name: str, nonsense: str) -> None:
    said = verdict(name, nonsense)
    assert not said and said.answered and said.message and "stumbled" not in said.message, said


def test_all_solutions_together_make_the_whole_notebook_right(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    for cell in CELLS:
        found = CHECKED.search(cell)
        solution = ANSWERS[found[1]].solution if found else ""
        exec(OPEN.sub(lambda _, solution=solution: solution, cell), names)
    assert all(names["verdicts"].values()) and "12 of 12 right" in capsys.readouterr().out


def test_an_answer_may_come_from_numpy_and_torch() -> None:
    assert checks.check_rank_of_entrywise(np.int64(64)) and checks.check_rank_of_entrywise(torch.tensor(64))
    assert checks.check_rank_of_entrywise(64.0) and not checks.check_rank_of_entrywise(64.5)
    assert checks.check_fitting_k(np.array([1, 2, 4])) and checks.check_fitting_k({4, 2, 1})
    assert checks.check_outlier_reach(torch.arange(32, 64))
    assert checks.check_lost_bases(torch.tensor([-0.999, -1.0]))
    assert checks.check_lost_bases(np.array([-1.0, -0.999], dtype=np.float32))
    assert checks.check_inert(["CDE"]) and checks.check_inert("c, d and e") and checks.check_inert(("C", "D", "E"))
    assert all(checks.check_inert(answer) for answer in ("C/D/E", "C+D+E", "C & D & E", "CDE."))
    small = {"a": 768, "b": 768, "c": 260, "d": 128, "e": 128}
    assert checks.check_budget(small), checks.check_budget(small)


def test_a_configuration_of_the_same_name_is_told_apart() -> None:
    assert "this is of type peft.GloraConfig" in checks.check_lora(peft.GloraConfig()).message


def test_what_is_given_cannot_be_spoilt() -> None:
    given, layer = checks.baked_in(), checks.gralora_layer()
    for array in given:
        with pytest.raises(ValueError, match="read-only"):
            array -= 1
    before = checks.gralora_layer().gralora_A["default"].detach().clone()
    layer.gralora_A["default"].detach().numpy()[:] = 0
    assert torch.equal(checks.gralora_layer().gralora_A["default"], before)


def test_numbers_that_train_beside_the_paths_are_counted() -> None:
    said = checks.check_paths_under_limit(GloraConfig.only(B="lora", r=1, bias="all"))
    assert not said and "above the limit" in said.message
    assert (
        "Nothing is trained"
        in checks.check_paths_under_limit(GloraConfig.only(B="lora", r=1, inference_mode=True)).message
    )
    assert "numbers are trained" in checks.check_lora(GloraConfig.only(B="lora", r=4, bias="all")).message


def test_the_random_state_is_left_alone() -> None:
    state = torch.get_rng_state()
    checks.check_outlier_reach(range(32, 64))
    checks.check_lora(3)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_fault_of_ours_is_said_and_kept() -> None:
    @exercise
    def check_broken(answer: Any) -> str:
        if answer == 1:
            raise NotYet("one")
        raise ZeroDivisionError("ours")

    assert check_broken(1) == Verdict(False, "one")
    said = check_broken(2)
    assert not said and "stumbled" in said.message and "ZeroDivisionError" in said.message
    assert [type(error) for error in checks.errors] == [ZeroDivisionError]
    checks.errors.clear()


def test_a_verdict_shows_itself() -> None:
    right, wrong, nothing = Verdict(True, "a < b"), Verdict(False, "look"), Verdict(False, "put", answered=False)
    assert [str(v) for v in (right, wrong, nothing)] == ["Right. a < b", "Not yet. look", "No answer yet. put"]
    assert html.escape("a < b") in right._repr_html_() and "<b>Right.</b>" in right._repr_html_()
    assert 'role="status"' in wrong._repr_html_() and "Not yet" in wrong._repr_html_()
    assert right.to_dicts() == [{"right": True, "message": "a < b", "answered": True}]
