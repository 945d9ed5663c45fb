"""CONTRIBUTING.md speaks of the house as it stands: its paths exist, its functions too, and no room is missing."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tests.source import MODULES, PACKAGE, ROOT, defined_names

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
CODE = set(re.findall(r"`([^`\n]+)`", PAGE))
PATH = re.compile(r"[\w.]+/(?:[\w.<>*]+/)*(?:[\w<>*]+\.\w+)?|\w+\.(?:py|md)")


def paths(code: Iterable[str]) -> set[str]:
    """What is named as a file or a folder, but for patterns: `ideas/<idea>/`, `record*.py`."""
    return {name for name in code if PATH.fullmatch(name) and not set("<*") & set(name)}


def stands(name: str) -> bool:
    """Under the root or in the package; a file of `adapters/*.py` may be named in its row alone."""
    return any((folder / name).exists() for folder in (ROOT, PACKAGE, PACKAGE / "adapters", PACKAGE / "ideas/budget"))


def rooms() -> set[str]:
    """Every folder of code at the top, inside `adapters/` and inside `ideas/`, and every module at the top."""
    inside = {name: PACKAGE / name for name in ("", "adapters", "ideas")}
    found = {
        f"{prefix}/{path.name}/".lstrip("/")
        for prefix, folder in inside.items()
        for path in folder.iterdir()
        if list(path.glob("*.py")) and path.name not in inside
    }
    return found | {path.name for path in PACKAGE.glob("*.py")}


def test_it_is_read_in_one_sitting() -> None:
    assert len(PAGE.splitlines()) <= 120


def test_every_path_that_it_names_exists() -> None:
    named = paths(CODE)
    assert len(named) > 40 and "adapters/tuner/layer.py" in named
    assert {name for name in named | paths(re.findall(r"`([^`\n]+)`", README)) if not stands(name)} == set()


def test_every_room_is_named() -> None:
    assert {"adapters/base/", "ideas/xray/", "figures/", "arguments.py"} <= rooms()
    assert rooms() - CODE == set()


def test_every_function_that_it_names_is_there() -> None:
    called = {re.split(r"[(.]", name)[0] for name in CODE if re.fullmatch(r"\w+\(\w*\)", name)}
    assert {"plan_adapter", "add_delta", "path_budget"} <= called
    assert called - {name for module in MODULES for name in defined_names(module)} == set()


def test_the_readme_leads_to_it() -> None:
    assert "](CONTRIBUTING.md)" in README
