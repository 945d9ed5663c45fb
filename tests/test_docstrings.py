"""Docstrings of public names as the site shows them: what Sphinx would take for something else than is meant.

Its reader of Google's sections takes what stands before a colon in the first line of a property, or of `Returns:`, for
a type, and sets it apart from the rest of the sentence.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import pytest

from docs.reference import meaning
from glora_lab.records import Verdict
from tests.test_examples import DOORS

CODE = re.compile(r"`[^`]*`")
RETURNS = re.compile(r"^Returns:\n +(.*)$", re.MULTILINE)
ATTRIBUTES = re.compile(r"^Attributes:\n((?: .*\n?|\n)*)", re.MULTILINE)
TOLD = re.compile(r"^ {4}(\w+): \S", re.MULTILINE)


def members(kind: type) -> Iterator[tuple[str, Any]]:
    """What the package itself puts into a class, those that it is derived from included."""
    for base in kind.__mro__:
        if base.__module__.startswith("glora_lab"):
            yield from ((f"{base.__qualname__}.{name}", member) for name, member in vars(base).items())


def documented(door: str) -> Iterator[tuple[str, Any, str]]:
    """Name, what it is, and its docstring, of every public name of a door and of the public members of its classes."""
    module = importlib.import_module(f"glora_lab.{door}")
    for name in module.__all__:
        what = getattr(module, name)
        if not (inspect.isclass(what) or inspect.isfunction(what)):
            continue
        yield name, what, inspect.getdoc(what) or ""
        for member, held in members(what) if inspect.isclass(what) else ():
            if not member.rpartition(".")[2].startswith("_") and inspect.getdoc(held):
                yield member, held, inspect.getdoc(held) or ""


def with_fields() -> Iterator[type]:
    """Every record, every configuration, and what else among the public names is a dataclass."""
    for door in DOORS:
        module = importlib.import_module(f"glora_lab.{door}")
        for what in (getattr(module, name) for name in module.__all__):
            if inspect.isclass(what) and dataclasses.is_dataclass(what):
                yield what


@pytest.mark.parametrize("door", DOORS)
def test_every_public_function_and_class_has_a_docstring(door: str) -> None:
    assert [name for name, what, text in documented(door) if not text] == []


@pytest.mark.parametrize("door", DOORS)
def test_every_constant_says_what_it_is(door: str) -> None:
    module = importlib.import_module(f"glora_lab.{door}")
    names = module.__all__
    constants = [name for name in names if not hasattr(getattr(module, name), "__name__") or name == "Kind"]
    assert [name for name in names if meaning(module, name)] == constants


@pytest.mark.parametrize("door", DOORS)
def test_no_beginning_of_a_sentence_is_taken_for_a_type(door: str) -> None:
    taken = []
    for name, what, text in documented(door):
        first = text.partition("\n")[0] if isinstance(what, property | cached_property) else ""
        said = RETURNS.search(text)
        taken += [f"{name}: {line}" for line in (first, said[1] if said else "") if ":" in CODE.sub("", line)]
    assert taken == []


def test_a_check_says_what_it_returns() -> None:
    checks = importlib.import_module("glora_lab.checks")
    found = {inspect.signature(getattr(checks, n)).return_annotation for n in checks.__all__ if n.startswith("check_")}
    assert found == {"Verdict"}
    assert checks.check_budget.__annotations__["return"] is checks.check_lora.__annotations__["return"] is Verdict


@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.__name__) for kind in with_fields()])
def test_each_field_is_told_once_and_nothing_that_is_none(kind: type) -> None:
    found = ATTRIBUTES.search(inspect.getdoc(kind) or "")
    told = TOLD.findall(found[1]) if found else []
    known = {field.name for field in dataclasses.fields(kind)}
    of_bases = {
        field.name for base in kind.__mro__[1:] if dataclasses.is_dataclass(base) for field in dataclasses.fields(base)
    }
    assert len(told) == len(set(told))
    assert known - of_bases <= set(told) <= known
