"""Every argument of every public function, given a thing of the wrong kind: one ValueError that names it, at once.

The valid calls are the reference's own examples. Each is run as it is written, and where it calls its subject, that is
called before with one argument after the other replaced; the example has to come out as written all the same, so
nothing was changed before a thing was refused. What a value may be is read from the argument's annotation.
"""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import torch

from glora_lab.panels import Panel
from tests.test_examples import DOORS, Example, examples
from tests.test_examples import a_reader as a_reader  # the fixture

WRONG = {
    "None": None,
    "'zz'": "zz",
    "3": 3,
    "-1": -1,
    "1.5": 1.5,
    "[]": [],
    "{}": {},
    "object()": object(),
    "nan": float("nan"),
}
# word of an annotation → what of these it allows; of the rest nothing is allowed
ALLOWED = {
    "None": ("None",),
    "str": ("'zz'",),
    "int": ("3", "-1"),
    "float": ("3", "-1", "1.5"),
    "PathLike": ("'zz'",),
    "slice": ("[]",),
    **dict.fromkeys(
        ("Sequence", "Iterable", "Collection", "tuple", "list", "Choice", "Shape", "Moments"), ("[]", "{}")
    ),
    **dict.fromkeys(("Mapping", "dict", "Batch", "Reports"), ("{}",)),
    **dict.fromkeys(("Budgets", "Steps", "Spectra", "Targets"), ("[]", "{}")),
    "Any": tuple(WRONG),
}
ANYTHING = ("[]", "object()")  # of what may be anything these are tried
# What is as good as any other value there, and is not tried: texts of a reader's own, folders, numbers of both signs.
FREE = {
    "'zz'": (
        *(
            "text",
            "label",
            "question",
            "unit",
            "target_modules",
            "exclude_modules",
            "path",
            "keep_runs",
            "storage",
            "about",
        ),
        *(
            "load_adapter.adapter_name",
            "task_from.name",
            "write.prompts",
            "search_paths.name",
            "XrayPanel.path_or_model",
        ),
        *("weight_change.name", "weight_change.method", "plot_xray_layer.method", "describe_xray_layer.method"),
    ),
    "-1": (*("outlier_layer.change", "low_rank_equation.scaling", "describe_low_rank_equation.scaling"), "chosen"),
    "None": ("GloraConfig.only.A", "GloraConfig.only.B", "GloraConfig.only.D", "GloraConfig.only.E"),
}
HARMLESS = {"None", "3", "1.5"}  # an argument that may be these is one; they are not tried either
# what is said by another name: a setting's own, and that of the name of a model
NAMED = {**{path: f"config_{path}" for path in "ABCDE"}, "model": "(model|name_or_path)"}
FEWER = {"'zz'", "-1", "object()"}  # of panels, which take their time
INNER = {"GraloraConfig.plan", "LabConfig.on_layer", "LabConfig.scaling"}  # asked by the layers, with their own numbers
PEFTS = {  # settings that PEFT reads itself
    *("task_type", "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision"),
    *("inference_mode", "glora_lab_stamp"),
}
UNCALLED = re.compile(
    r"(Delta|Glora|Gralora)(Layer|Linear|Model)|(Delta|Lab)Config|DeltaMethod|Task|Recipe|Kind|Panel|errors|check_panels"
)


class Calls(ast.NodeTransformer):
    """Each call f(…) becomes watched(f)(…)."""

    def visit_Call(self, node: ast.Call) -> ast.Call:
        self.generic_visit(node)
        node.func = ast.Call(ast.Name("watched", ast.Load()), [node.func], [])
        return node


class Tried:
    """Calls the subject of an example with wrong arguments, before it is called as the example has it."""

    def __init__(self, subject: Any) -> None:
        self.subject, self.calls = subject, set[str]()
        self.wrong: list[str] = []

    def watched(self, function: Callable[..., Any]) -> Callable[..., Any]:
        owner = getattr(function, "__self__", None)
        of_it = inspect.isclass(self.subject) and (owner is self.subject or isinstance(owner, self.subject))
        name = getattr(function, "__qualname__", "")
        if not (function is self.subject or of_it) or name in self.calls or name in INNER:
            return function

        def called(*args: Any, **kwargs: Any) -> Any:
            if name not in self.calls:
                self.calls.add(name)
                self.try_all(name, function, inspect.signature(function).bind(*args, **kwargs))
            return function(*args, **kwargs)

        return called

    def try_all(self, name: str, function: Callable[..., Any], valid: inspect.BoundArguments) -> None:
        for argument in valid.signature.parameters.values():
            if argument.kind is argument.VAR_KEYWORD or argument.name in PEFTS:
                continue
            allowed, untried = left_out(name, argument)
            for says, value in WRONG.items():
                if says not in untried:
                    given = [value] if argument.kind is argument.VAR_POSITIONAL else value
                    changed = inspect.BoundArguments(valid.signature, valid.arguments | {argument.name: given})  # type: ignore[arg-type]
                    answer = outcome(function, changed, argument.name, fits=says in allowed)
                    self.wrong += [f"{name}({argument.name}={says}): {answer}"] if answer else []


def left_out(function: str, argument: inspect.Parameter) -> tuple[set[str], set[str]]:
    """Which of the values may be taken or refused, and which are not tried."""
    words = re.findall(r"\w+", str(argument.annotation))
    allowed = {says for word in words for says in ALLOWED.get(word, ())}
    free = {s for s, names in FREE.items() if {argument.name, f"{function}.{argument.name}"} & {*names}}
    if "Any" in words:
        return allowed, WRONG.keys() - {*ANYTHING}
    skipped = WRONG.keys() - FEWER if function.endswith("Panel") else set()
    return allowed - {"'zz'", "-1"}, allowed & HARMLESS | free | skipped


def outcome(function: Callable[..., Any], given: inspect.BoundArguments, name: str, *, fits: bool) -> str:
    """What is wrong with what comes of a call; nothing where it is as it should be."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with redirect_stdout(io.StringIO()):
                made = function(*given.args, **given.kwargs)
                if isinstance(made, AbstractContextManager) and not isinstance(made, torch.nn.Module):
                    made.__enter__()
                    made.__exit__(None, None, None)
        except ValueError as error:
            named = r"`\w+" if fits else rf"`{NAMED.get(name, name)}(\[.*?\])?` \("
            return "" if re.search(named, str(error)) else f"not named in: {error}"
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    if isinstance(made, Panel):
        made.close()
    return "" if fits else "taken"


def tried(door: str, example: Example) -> tuple[Tried, str]:
    """What came of the wrong arguments, and what doctest says of the example around them."""
    trial = Tried(getattr(importlib.import_module(f"glora_lab.{door}"), example.name))
    globs = {"__name__": "__main__", "watched": trial.watched}
    test = doctest.DocTestParser().get_doctest(example.code, globs, example.name, f"{door}.md", example.line)
    for line in test.examples:
        if line.exc_msg:  # no valid call
            continue
        tree = ast.fix_missing_locations(Calls().visit(ast.parse(line.source)))
        line.source = ast.unparse(tree) + "\n"
    said = io.StringIO()
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=said.write)
    return trial, said.getvalue()


def subjects() -> Iterator[Any]:
    """The examples of what can be called."""
    for door in DOORS:
        for example in examples(door) if door != "records" else ():
            if callable(getattr(importlib.import_module(f"glora_lab.{door}"), example.name)):
                yield pytest.param(door, example, id=f"{door}-{example.name}")


@pytest.mark.parametrize(("door", "example"), [*subjects()])
@pytest.mark.usefixtures("a_reader")
def test_what_is_of_the_wrong_kind_is_refused_by_name_and_nothing_is_changed(
    door: str, example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trial, differs = tried(door, example)
    assert not trial.wrong, "\n".join(trial.wrong)
    assert differs == ""
    assert trial.calls or UNCALLED.fullmatch(example.name), "its example does not call it"
