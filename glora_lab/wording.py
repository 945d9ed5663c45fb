"""Values and names in a message, which does not grow with the file that they are from."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

MOST = 1_000  # characters of a message
SHOWN = 200  # of a value in it
NAME = 100  # of a name


def within(text: str, most: int = MOST) -> str:
    """`text`, its middle counted where it is longer than that: what comes last is the rule, or the advice."""
    if len(text) <= most:
        return text
    start, end = most * 6 // 10, most * 3 // 10
    return f"{text[:start]} … ({len(text) - start - end:,} more characters) … {text[-end:]}"


def shown(value: Any) -> str:
    """A value as it is written in Python; where it is long, its beginning, and the rest counted."""
    try:
        text = repr(value)
    except RecursionError:
        return f"a {type(value).__name__}, nested too deeply to show"
    except ValueError:  # an integer of more digits than Python writes
        return f"a {type(value).__name__} too large to show"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} … ({len(text) - SHOWN:,} more characters)"


def brief(value: Any) -> Any:
    """A value that is read at a glance; of any other its class, and of a few such in a list or a dict theirs."""
    if value is None or isinstance(value, str | int | float):
        return value
    if not isinstance(value, list | tuple | dict):
        return type(value).__name__
    entries = value.values() if isinstance(value, dict) else value
    if all(one is None or isinstance(one, str | int | float) for one in entries):
        return value
    kinds = dict.fromkeys(type(one).__name__ for one in entries)
    return f"{type(value).__name__} of {few(kinds)}"


def few(names: Collection[str], most: int = 6) -> str:
    """The first of these names, and how many there are beyond."""
    first = [within(name, NAME) for name in list(names)[:most]]
    return ", ".join(first) + (f" and {len(names) - most:,} more" if len(names) > most else "")
