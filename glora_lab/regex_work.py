"""How many steps a regular expression may take on one name, found before it is run.

A pattern in a stranger's file is matched with every module's name, and Python's `re` goes back and tries again: a
repetition inside a repetition may take 2ⁿ steps on n characters, and nothing stops it once it runs. So the parsed
expression is read instead. A place where it may go on in one way only costs nothing, `[a-z]+\\.` say: what follows
cannot begin inside the repetition. Otherwise its ways are counted, and multiply those of what stands behind it.

The count is an estimate from above: for the worst name of some length, or for one name.
"""

from __future__ import annotations

import functools
import math
import re
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

if sys.version_info >= (3, 11):
    from re import _parser  # type: ignore[attr-defined]
else:
    import sre_parse as _parser

ANY = (1 << 129) - 1  # a set of characters: a bit for each of ASCII, and one for the rest
NEWLINE = 1 << 10
CATEGORIES = {"DIGIT": re.compile(r"\d"), "SPACE": re.compile(r"\s"), "WORD": re.compile(r"\w")}
AHEAD = 12  # so many characters of what follows are looked at
COMPARED = 64  # so many branches are held against each other
SPELLING = 100  # steps for a character of a range that is folded
NOTHING: list[Any] = []
Head = tuple[int, ...]  # the sets of the characters that surely come first; () where nothing is known
END: Head = (0,) * AHEAD  # the end of the name: no character fits


class Part(NamedTuple):
    """What a part of an expression may do, from one place in a name."""

    ways: float  # to match, as far as what follows may accept them
    work: float  # steps to find them all
    head: Head  # what begins here: the part, and what follows it
    least: int  # characters at least
    slides: bool = False  # whether its ways are places further and further on


def repeats(expression: str) -> bool:
    """Whether there may be anything to count: an expression without a repetition takes a step a character."""
    return any(sign in expression for sign in "*+?{")


@functools.lru_cache(maxsize=4096)
def worst(expression: str, length: int) -> float:
    """An upper estimate of the steps that matching a name of `length` characters takes; may be infinite."""
    return _Reading(expression, length).steps() if repeats(expression) else length + len(expression)


def steps(expression: str, name: str) -> float:
    """The same for one name: what follows a repetition stands at few places in it."""
    return _Reading(expression, len(name), name).steps() if repeats(expression) else len(name) + len(expression)


class _Reading:
    def __init__(self, expression: str, length: int, name: str | None = None) -> None:
        self.tree: Any = _parse(expression)
        self.length = length
        self.name = None if name is None else [_bit(ord(character)) for character in name]
        self.found: dict[tuple[int, Head], Part] = {}  # or the time to read doubles with each repetition inside another
        self.spelled_out = 0  # characters of ranges that `re` looks up one by one, to fold their case
        self.folded = bool(self.tree.state.flags & re.IGNORECASE) or "i" in _flags(expression)
        self.dot = ANY if self.tree.state.flags & re.DOTALL or "s" in _flags(expression) else ANY & ~NEWLINE

    def steps(self) -> float:
        try:
            whole = self._sequence(self.tree, END)
        except RecursionError:
            return math.inf
        return whole.work + whole.ways + SPELLING * self.spelled_out

    def _sequence(self, items: Sequence[Any], after: Head) -> Part:
        key = id(items), after
        if key not in self.found:
            self.found[key] = self._read(items, after)
        return self.found[key]

    def _read(self, items: Sequence[Any], after: Head) -> Part:
        parts = []
        for kind, argument in reversed(items):
            parts.append(self._part(str(kind), argument, after))
            after = parts[-1].head
        ways, work, sliding = 1.0, 1.0, 0
        for part in reversed(parts):
            work += ways * part.work
            sliding += part.slides
            ways *= part.ways / sliding if part.slides else part.ways  # they slide past each other in one order
        only = sliding == 1 and sum(part.ways > 1 for part in parts) == 1
        return Part(max(ways, 1.0), work, after, sum(part.least for part in parts), only)

    def _part(self, kind: str, argument: Any, after: Head) -> Part:
        if kind in ("LITERAL", "NOT_LITERAL", "ANY", "IN"):
            return Part(1, 1, (self._characters(kind, argument), *after)[:AHEAD], 1)
        if kind in ("MAX_REPEAT", "MIN_REPEAT"):
            return self._repeat(argument, after)
        if kind == "POSSESSIVE_REPEAT":
            return self._repeat(argument, ())._replace(ways=1, slides=False, head=())
        if kind == "ATOMIC_GROUP":
            return self._sequence(argument, ())._replace(ways=1, slides=False, head=())
        if kind == "SUBPATTERN":
            return self._sequence(argument[-1], after)
        if kind == "BRANCH":
            return self._branch(argument[1], after)
        if kind == "GROUPREF_EXISTS":
            return self._branch([argument[1], argument[2] or NOTHING], after)
        if kind in ("ASSERT", "ASSERT_NOT"):
            return Part(1, self._sequence(argument[1], END).work, after, 0)
        if kind == "AT":
            return Part(1, 1, (NEWLINE,) if str(argument).startswith("AT_END") else after, 0)
        return Part(1, self.length, (), 0)  # a reference to a group

    def _repeat(self, argument: tuple[Any, Any, Sequence[Any]], after: Head) -> Part:
        low, high, body = int(argument[0]), min(int(argument[1]), self.length), argument[2]
        first = self._sequence(body, ()).head
        once = self._sequence(body, _either(first, after) if high > 1 else after)
        times = min(high, self.length // max(1, once.least) + 1)
        head = once.head if low else _either(once.head, after)
        work, least = 1 + times * once.work, low * once.least
        if once.ways > 1:
            ways = (once.ways if high <= 1 else _power(once.ways, times)) + (not low)
            return Part(ways, work, head, least, once.slides and high <= 1)
        if _apart(first, after) or high == low:
            return Part(1, work, head, least)
        stops = min(times - low + 1, self._places(after) + 1)
        return Part(max(1, stops), work, head, least, stops > 2)

    def _branch(self, branches: Sequence[Any], after: Head) -> Part:
        parts = [self._sequence(branch, after) for branch in branches]
        if len(parts) <= COMPARED:  # those that may match the same text
            ways = max(sum(b.ways for b in parts if a is b or not _exclude(a.head, b.head)) for a in parts)
        else:
            ways = sum(part.ways for part in parts)
        head = functools.reduce(_either, (part.head for part in parts))
        return Part(ways, sum(part.work for part in parts), head, min(part.least for part in parts))

    def _places(self, head: Head) -> int:
        """How often this may stand in a name: "attn" never within 4 characters of itself."""
        if self.name is None:
            return self.length // _period(head)
        rows = [[bool(one & other) for other in self.name] + [not one] for one in head]  # nothing fits at the end
        return sum(all(row[at + n] for n, row in enumerate(rows) if at + n <= self.length) for at in range(self.length))

    def _characters(self, kind: str, argument: Any) -> int:
        if kind == "ANY":
            return self.dot
        if kind == "NOT_LITERAL":
            return ANY & ~_bit(argument) if argument < 128 and not self.folded else ANY
        found = self._fold(_bit(argument)) if kind == "LITERAL" else self._set(argument)
        return found

    def _set(self, items: Sequence[Any]) -> int:
        found, negated = 0, False
        for kind, argument in items:
            if str(kind) == "NEGATE":
                negated = True
            elif str(kind) == "LITERAL":
                found |= _bit(argument)
            elif str(kind) == "RANGE":
                found |= functools.reduce(int.__or__, map(_bit, range(argument[0], min(argument[1], 128) + 1)), 0)
                found |= _bit(argument[1])
                self.spelled_out += self.folded * (argument[1] - argument[0])
            else:
                found |= _category(str(argument))
        if not negated:
            return self._fold(found)
        # of the characters beyond ASCII some may be left
        return ANY if self.folded else ANY & ~found | _bit(128)

    def _fold(self, found: int) -> int:
        if not self.folded:
            return found
        letters = [c for c in range(65, 91) if found & (_bit(c) | _bit(c + 32))]
        return functools.reduce(int.__or__, (_bit(c) | _bit(c + 32) | _bit(128) for c in letters), found)


@functools.lru_cache(maxsize=64)
def _parse(expression: str) -> Any:
    return _parser.parse(expression)


def _flags(expression: str) -> str:
    """The letters of all flags in `(?i)` and `(?i:…)`, wherever they stand."""
    return "".join(re.findall(r"\(\?([a-zA-Z]+)[:)-]", expression))


def _bit(character: int) -> int:
    return 1 << min(character, 128)


@functools.lru_cache(maxsize=16)
def _category(name: str) -> int:
    """ "CATEGORY_NOT_WORD" → its characters; of those beyond ASCII it always may have some."""
    matches = CATEGORIES[name.rpartition("_")[2]].match
    turned = "_NOT_" in name
    return sum(_bit(c) for c in range(128) if bool(matches(chr(c))) != turned) | _bit(128)


def _either(a: Head, b: Head) -> Head:
    return tuple(one | other for one, other in zip(a, b, strict=False))


def _apart(a: Head, b: Head) -> bool:
    """Whether a text that begins as `a` surely does not begin as `b`."""
    return bool(a and b) and not a[0] & b[0]


def _exclude(a: Head, b: Head) -> bool:
    return any(not one & other for one, other in zip(a, b, strict=False))


def _period(head: Head) -> int:
    """How near to each other two places may be where this stands."""
    for shift in range(1, len(head)):
        if all(one & other for one, other in zip(head, head[shift:], strict=False)):
            return shift
    return max(1, len(head))


def _power(base: float, exponent: int) -> float:
    return base**exponent if exponent * math.log(base) < 600 else math.inf
