"""What a figure is given is of the kind that its signature says, or is refused in words.

Decision: the annotations that readers and type checkers have are what is checked, so a new figure needs no line for
it. They are read at the first call, and a check takes microseconds, for panels draw at each move of a slider.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache, wraps
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from glora_lab.arguments import refuse
from glora_lab.wording import brief

Given = ParamSpec("Given")
Made = TypeVar("Made")
SAID: Mapping[Any, str] = {
    NoneType: "None",
    bool: "True or False",
    int: "an integer",
    float: "a finite number",
    str: "a text",
}
SEVERAL: Mapping[Any, str] = {int: "integers", float: "numbers", str: "texts"}


def checked(function: Callable[Given, Made]) -> Callable[Given, Made]:
    """The same function; what is not as annotated is one ValueError, which names the argument and its kind."""
    names = tuple(inspect.signature(function).parameters)
    kinds: dict[str, Any] = {}

    @wraps(function)
    def only_as_annotated(*args: Given.args, **kwargs: Given.kwargs) -> Made:
        if not kinds:
            kinds.update(get_type_hints(function))
        for name, value in [*zip(names, args, strict=False), *kwargs.items()]:
            if name in kinds and not fits(value, kinds[name]):
                raise refuse(name, brief(value), f"must be {_in_words(kinds[name])}")
        return function(*args, **kwargs)

    only_as_annotated.__doc__ = _told(function)
    return only_as_annotated


def _told(function: Callable[..., Any]) -> str:
    """Its docstring, with the error where that is not told."""
    doc = inspect.getdoc(function) or ""
    return doc if "\nRaises:\n" in doc else f"{doc}\n\nRaises:\n    ValueError: for what is of another kind."


def fits(value: Any, kind: Any) -> bool:
    """Whether it is what the annotation says, its entries included."""
    if kind is Any:
        return True
    origin, inner = _taken_apart(kind)
    if origin is Union:
        return any(fits(value, one) for one in inner)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(fits(k, inner[0]) and fits(v, inner[1]) for k, v in value.items())
    if origin is tuple:
        return isinstance(value, tuple | list) and len(value) == len(inner) and all(map(fits, value, inner))
    if origin is Sequence:
        return isinstance(value, Sequence) and not isinstance(value, str) and _all_fit(value, inner[0])
    if kind is int or kind is float:
        number = isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)
        return number and abs(value) <= sys.float_info.max
    return isinstance(value, kind)


def _all_fit(values: Sequence[Any], kind: Any) -> bool:
    """Of many records, as a run's steps are, each class is looked at once."""
    if isinstance(kind, type) and get_origin(kind) is None and kind not in (int, float):
        return all(issubclass(one, kind) for one in set(map(type, values)))
    return all(fits(one, kind) for one in values)


@cache
def _taken_apart(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    origin = get_origin(kind)
    return Union if origin is UnionType else origin, get_args(kind)


def _in_words(kind: Any) -> str:
    origin, inner = _taken_apart(kind)
    if origin is Union:
        *head, last = (_in_words(one) for one in inner)
        return f"{', '.join(head)} or {last}"
    if origin is Mapping:
        return f"a dict from a name to {_in_words(inner[1])}"
    if origin is tuple:
        return f"a tuple of {len(inner)} {_several(inner[0])}"
    if origin is Sequence:
        return f"a list of {_several(inner[0])}"
    return SAID.get(kind) or _a(kind.__name__)


def _several(kind: Any) -> str:
    return SEVERAL.get(kind) or f"{kind.__name__} records"


def _a(name: str) -> str:
    return f"a{'n' * (name[0] in 'AEIOUX')} {name}"
