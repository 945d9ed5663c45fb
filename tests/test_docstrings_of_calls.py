"""What is called among the public names, functions and classes: each argument is told, and each error.

Decision: the errors are found by reading what a function, or a class's `__init__`, raises itself, and what is raised by
the functions of the package that it calls by name, and that these call. What is called through an object is not
followed: there is no telling what that is.
"""

from __future__ import annotations

import ast
import builtins
import dataclasses
import importlib
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import pytest

from glora_lab import checks, data, figures, measure
from tests.test_examples import DOORS

CODE = re.compile(r"`[^`]*`")
ARGUMENTS = re.compile(r"^Args:\n((?: .*\n?|\n)*)", re.MULTILINE)
NAMED = re.compile(r"^ {4}(\w+(?:, \w+)*): \S", re.MULTILINE)
SAYS_ITSELF = (ImportError, NotImplementedError)  # what to install, and what a class derived from ours lacks


def called() -> Iterator[Any]:
    """One parameter of pytest for each; a dataclass is told by its fields, see `test_docstrings.py`."""
    for door in DOORS:
        module = importlib.import_module(f"glora_lab.{door}")
        for name in module.__all__:
            what = getattr(module, name)
            if callable(what) and not dataclasses.is_dataclass(what) and not hasattr(what, "__args__"):
                yield pytest.param(what, id=name)


def source_of(what: Any) -> Callable[..., Any]:
    """The function that runs, under decorators and caches; of a class its `__init__`."""
    return inspect.unwrap(what.__init__ if inspect.isclass(what) else what)


def parameters(what: Any) -> list[str]:
    whole = source_of(what)
    found = inspect.signature(whole).parameters if inspect.isfunction(whole) else ()
    return [name for name in found if name != "self"]


def tree_of(function: Callable[..., Any]) -> ast.Module:
    return ast.parse(textwrap.dedent(inspect.getsource(function)))


def is_ours(function: Any) -> bool:
    return isinstance(function, FunctionType) and function.__module__.startswith("glora_lab")


def calls_of(function: Any) -> Iterator[Callable[..., Any]]:
    """The functions of the package that it calls by their names, as `check(…)` or `arguments.check(…)`."""
    for node in ast.walk(tree_of(function)):
        if isinstance(node, ast.Call):
            module, _, name = ast.unparse(node.func).rpartition(".")
            home = function.__globals__.get(module) if module else None
            found = getattr(home, name, None) if module else function.__globals__.get(name)
            inner = inspect.unwrap(found) if callable(found) else None
            if is_ours(inner):
                yield inner


def raised_in(function: Any) -> set[type[Exception]]:
    """What stands behind a `raise`: a class, or a function that makes one, as `refuse`."""
    raised = [node.exc for node in ast.walk(tree_of(function)) if isinstance(node, ast.Raise) and node.exc]
    names = {ast.unparse(error).partition("(")[0] for error in raised}
    makers = [function.__globals__.get(name, getattr(builtins, name, None)) for name in names]
    made = {getattr(builtins, inspect.signature(maker).return_annotation) for maker in makers if is_ours(maker)}
    return made | {maker for maker in makers if inspect.isclass(maker)}


def errors_of(what: Any) -> set[type[Exception]]:
    """What it may raise, or a function that it calls, however deep."""
    waiting, seen = [source_of(what)], set()
    while waiting:
        function = waiting.pop()
        if is_ours(function) and function not in seen:
            seen.add(function)
            waiting += calls_of(function)
    return set().union(*map(raised_in, seen))


def tells(text: str, error: type[Exception]) -> bool:
    """Whether it is named, or what it is derived from."""
    names = [kind.__name__ for kind in error.__mro__ if kind not in (Exception, BaseException, object)]
    return re.search(rf"\b({'|'.join(names)})\b", text) is not None


@pytest.mark.parametrize("what", [*called()])
def test_each_argument_is_told(what: Any) -> None:
    text = inspect.getdoc(what) or ""
    section = ARGUMENTS.search(text)
    told = set(re.findall(r"\w+", " ".join(NAMED.findall(section[1]) if section else [])))
    in_code = set(re.findall(r"\w+", " ".join(CODE.findall(text))))
    assert [name for name in parameters(what) if name not in told | in_code] == []


@pytest.mark.parametrize("what", [*called()])
def test_each_error_is_told(what: Any) -> None:
    if not parameters(what) or what in vars(checks).values():
        return  # nothing can be given that is wrong; or what is wrong is returned, in a verdict
    text = inspect.getdoc(what) or ""
    known = {error for error in errors_of(what) if not issubclass(error, SAYS_ITSELF)}
    assert [error for error in known if not tells(text, error)] == []


def test_an_error_is_found_in_a_function_and_in_what_it_calls() -> None:
    assert raised_in(source_of(figures.plot_outliers)) == {ValueError}
    assert raised_in(measure.sensible_limit) == set() != errors_of(measure.sensible_limit)
    assert errors_of(data.load_task) == {ValueError, ImportError}
    assert tells("OSError: where it is no folder", IsADirectoryError) and not tells("an OSErrors", IsADirectoryError)


def test_every_description_says_what_its_words_tell() -> None:
    texts = [getattr(figures, name).__doc__ for name in figures.__all__ if name.startswith("describe_")]
    firsts = [text.partition("\n\n")[0] for text in texts]
    assert len(set(firsts)) == len(firsts) > 30 and not any("figure in words" in first for first in firsts)
