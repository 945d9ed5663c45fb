"""The colour of a run, found in its name: "LoRA, rank 4", "B vector", "Turned digits: all paths, rank 4"."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .theme import METHOD_COLORS, OWN_COLOR, PATH_COLORS, RUN_COLORS, path_color

ONE_PATH = re.compile(r"\b[A-E]\b")
SETTING = re.compile(r"\b([A-E]|paths?|BitFit|SSF)\b")  # of GLoRA, in a run's name
UNNAMED = ("this run", "adapted")  # what figures and panels call what has no name


def run_colors(names: Iterable[str]) -> dict[str, str]:
    """One colour per run: a path's or method's own where it is named so, else the next free one.

    "LoRA, rank 4" is named after its method; a second run of that method gets a free colour, to be told apart. All
    methods of a reader's own have one colour between them, and of two in a figure the second gets a free one as well.
    """
    names = list(dict.fromkeys(names))
    own = {name: path_color(name) for name in names if name in PATH_COLORS or name in METHOD_COLORS}
    for name in names:
        color = OWN_COLOR if is_own(name) else METHOD_COLORS.get(method_in(name))
        if color and color not in own.values():
            own.setdefault(name, color)
    free = [color for color in RUN_COLORS if color not in own.values()] or list(RUN_COLORS)
    others = [name for name in names if name not in own]
    return {**{name: free[n % len(free)] for n, name in enumerate(others)}, **own}


def kind_color(name: str) -> str:
    """The colour of what a run is, where names stand beside their points and may share one.

    Its method's, where the name begins with one, also one of a reader's own; that of a path, where it names no other
    ("B rank 4 (LoRA)"); of anything else GLoRA's.
    """
    if is_own(name):
        return OWN_COLOR
    run, word = name.rpartition(": ")[2], method_in(name)
    paths = set(ONE_PATH.findall(run))
    own = METHOD_COLORS.get(run) or METHOD_COLORS.get(word)
    return own or (PATH_COLORS[paths.pop()] if len(paths) == 1 else METHOD_COLORS["GLoRA"])


def method_in(name: str) -> str:
    """The word that a run's name begins with, after the task's: "GLoRA" of "Turned digits: GLoRA A+B, rank 4"."""
    return name.rpartition(": ")[2].partition(" ")[0].rstrip(",")


def is_own(name: str) -> bool:
    """Whether a run is named after a method that its reader has written: "Tropical, rank 4", and not "all paths"."""
    run, word = name.rpartition(": ")[2], method_in(name)
    known = run in METHOD_COLORS or word in METHOD_COLORS or run in UNNAMED or SETTING.search(run)
    return word.isidentifier() and len(word) > 1 and not known
