"""Checks at the edge, shared by the configurations: each failure is one ValueError with name, value and rule."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any

# PEFT's shorthand for every linear layer; the only target string that is not a regular expression
ALL_LINEAR = "all-linear"

# what PEFT matches with names: a key of a pattern, an entry of `modules_to_save`, one of `layers_pattern`
KEY, SAVED, LAYERS = r"(.*\.)?({})$", r"(^|.*\.){}($|\..*)", r"(?:^|.*?\.){}\.(?P<idx>\d+)\."


def refuse(name: str, value: Any, rule: str) -> ValueError:
    """The one wording of a refused setting."""
    return ValueError(f"`{name}` (={value!r}) {rule}")


def check_positive_int(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise refuse(name, value, "must be an integer above 0")


def check_count(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise refuse(name, value, "must be an integer, at least 0")


def check_positive_number(name: str, value: Any) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value <= sys.float_info.max:  # an int may be larger than any float
        raise refuse(name, value, "must be a finite number above 0")


def check_number(name: str, value: Any) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not abs(value) <= sys.float_info.max:
        raise refuse(name, value, "must be a finite number")


def check_flag(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise refuse(name, value, "must be True or False")


def check_choice(name: str, value: Any, choices: Iterable[str]) -> None:
    choices = tuple(choices)
    if not isinstance(value, str) or value not in choices:
        raise refuse(name, value, f"must be one of {', '.join(map(repr, choices))}")


def check_probability(name: str, value: Any) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value < 1:
        raise refuse(name, value, "must be a probability: at least 0 and below 1")


def check_regex(name: str, value: str, within: str = "{}") -> None:
    """`within` is the larger expression that PEFT makes of it: "(?i)x" stands alone, and not in that."""
    for expression, where in ((value, ""), (within.format(value), " inside a larger one")):
        try:
            re.compile(expression)
        except re.error as error:
            why = f"{error.msg} in {expression!r}" if where else error
            raise refuse(name, value, f"must be a regular expression{where}, but {why}") from error


def check_names(name: str, value: Any, *, regex: bool = True) -> None:
    """None, a list (or set) of module names, or, where `regex`, one regular expression."""
    if value is None:
        return
    if isinstance(value, str):
        if regex and value.lower() != ALL_LINEAR:
            check_regex(name, value)
        elif not regex:
            raise refuse(name, value, "must be a list of module names")
        return
    if not isinstance(value, list | tuple | set) or not all(isinstance(v, str) and v for v in value):
        raise refuse(name, value, "must be a list of module names" + (" or a regular expression" if regex else ""))
    if name == "modules_to_save":  # PEFT matches these as patterns as well
        for one in value:
            check_regex(name, one, SAVED)


def check_pattern(name: str, value: Any) -> Mapping[str, Any]:
    """A dict whose keys are module patterns (regular expressions on the end of a module name)."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) and key for key in value):
        raise refuse(name, value, "must be a dict from module pattern to setting")
    for key in value:
        check_regex(f"{name} key", key, KEY)
    return value


def check_layers(config: Any) -> None:
    """`layers_to_transform` and `layers_pattern`, which PEFT reads only beside a list of target modules."""
    layers, pattern = config.layers_to_transform, config.layers_pattern
    if layers is not None:
        indices = [layers] if isinstance(layers, int) else layers
        whole = isinstance(indices, list | tuple) and all(type(i) is int and i >= 0 for i in indices)
        if isinstance(layers, bool) or not whole:
            raise refuse("layers_to_transform", layers, "must be a layer index or a list of them, counted from 0")
        if isinstance(config.target_modules, str):
            raise refuse("layers_to_transform", layers, "cannot be used when `target_modules` is a str.")
    if pattern is None:
        return
    names = [pattern] if isinstance(pattern, str) else pattern
    if not isinstance(names, list | tuple | set) or not all(isinstance(name, str) for name in names):
        raise refuse("layers_pattern", pattern, "must be a name or a list of names of the lists that hold the layers")
    if names and layers is None:
        raise refuse("layers_pattern", pattern, "needs `layers_to_transform` to be set as well")
    for name in names:
        check_regex("layers_pattern", name, LAYERS)
