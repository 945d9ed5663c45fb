"""Names in the text of docstrings: what stands between backticks leads to its page where it is a public name.

A name that is also an argument, a field or an attribute of something public is left as it is: which is meant, only a
reader can tell.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from functools import cache
from typing import Any

from docutils import nodes
from sphinx import addnodes

from docs.reference import DOORS, RECORDS

NAME = re.compile(r"(\w+)((?:\.\w+)?)(?:\(\))?")
Parsed = tuple[list[nodes.Node], list[nodes.system_message]]


def named(role: str, raw: str, text: str, *_: Any) -> Parsed:
    """The role of text between backticks: code, with a link where it is a public name, or a member of one."""
    code = nodes.literal(raw, text)
    found = NAME.fullmatch(text)
    if not found or found[1] not in homes():
        return [code], []
    target = homes()[found[1]] + found[2]
    link = addnodes.pending_xref("", code, refdomain="py", reftype="obj", reftarget=target, refwarn=False)
    return [link], []


@cache
def homes() -> dict[str, str]:
    """Public name → where the reference has it."""
    modules = [importlib.import_module(f"glora_lab.{door}") for door in (*DOORS, RECORDS)]
    public = {name: f"{module.__name__}.{name}" for module in modules for name in module.__all__}
    values = [getattr(module, name) for module in modules for name in module.__all__]
    others = {name for value in values for name in _within(value)}
    return {name: home for name, home in public.items() if name not in others}


def _within(value: Any) -> set[str]:
    """The names of a function's arguments, or of what a class has."""
    if inspect.isclass(value):
        fields = dataclasses.fields(value) if dataclasses.is_dataclass(value) else ()
        return {*dir(value), *(field.name for field in fields), *inspect.signature(value.__init__).parameters}
    return set(inspect.signature(value).parameters) if inspect.isroutine(value) else set()
