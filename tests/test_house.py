"""The plan of the house, read from the source: who may import whom, names, sizes, and what it depends on."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import tomllib
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import glora_lab
from tests.source import MODULES, PACKAGE, ROOT, defined_names, imports, part, room

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# what everybody may import: folders by name, packages that may be missing, checks of arguments and their words
ANYBODYS = {"folders", "extras", "arguments", "wording", "regex_work", "record"}
ROOMS_OF_ADAPTERS = {
    "adapters/registry": set(),
    "adapters/files": {"adapters/registry"},
    "adapters/base": set(),
    "adapters/tuner": {"adapters/base", "adapters/files", "adapters/registry"},
    "adapters/glora": {"adapters/base", "adapters/tuner", "adapters/registry"},
    "adapters/gralora": {"adapters/base", "adapters/tuner", "adapters/registry"},
    "adapters/own": {"adapters/base", "adapters/tuner", "adapters/registry"},
    "adapters/peft_layers": {"adapters/base", "adapters/tuner", "adapters/glora", "adapters/gralora"},
}
ADAPTERS = ROOMS_OF_ADAPTERS.keys() | {
    "adapters", "adapters/view", "adapters/optimizers", "adapters/checkpoints", "adapters/stock"
}  # fmt: skip
BELOW_PICTURES = ADAPTERS | {"ideas:record", "anatomy", "models", "data", "training", "search", "ideas:measure"}
EVERYTHING_BELOW_PANELS = BELOW_PICTURES | {
    "real",
    "records",
    "measure",
    "figures",
    "drawing",
    "ideas:figure",
    "checks",
    "cli",
}
MAY_IMPORT = ROOMS_OF_ADAPTERS | {
    "__init__": EVERYTHING_BELOW_PANELS,
    "folders": set(),
    "extras": set(),
    "wording": set(),
    "regex_work": set(),
    "arguments": {"wording", "regex_work"},
    "record": set(),
    "adapters": ADAPTERS,
    "adapters/view": set(ROOMS_OF_ADAPTERS),
    "adapters/optimizers": set(ROOMS_OF_ADAPTERS),
    "adapters/checkpoints": ROOMS_OF_ADAPTERS.keys() | {"adapters/view"},
    "adapters/stock": ADAPTERS | {"ideas:record"},
    "anatomy": ADAPTERS,
    "ideas:record": set(),
    "ideas:measure": ADAPTERS | {"ideas:record", "anatomy", "models"},  # a budget is counted on a model without weights
    "ideas:figure": {"ideas:record", "drawing"},
    "ideas:panel": BELOW_PICTURES | {"drawing", "ideas:figure", "page"},
    "ideas:show": {"ideas:record", "figures", "drawing", "page"},
    "ideas": set(),
    "drawing": set(),
    "page": ADAPTERS | {"drawing", "data", "models", "training"},
    "data": set(),
    "models": {"data"},
    "training": {"ideas:record", "data", "models"},
    "search": BELOW_PICTURES,
    "real": BELOW_PICTURES,
    "records": {"ideas:record"},
    "measure": {"ideas:measure"},
    "figures": {"ideas:figure", "drawing"},
    "panels": {"ideas:panel", "ideas:show", "page"},
    "checks": EVERYTHING_BELOW_PANELS,
    "cli": EVERYTHING_BELOW_PANELS,
}
DRAWING = {"plotly", "ipywidgets", "anywidget", "IPython"}
HEAVY_PACKAGES = {"torch", "transformers", "peft"}
MAKES_NO_PICTURES = ADAPTERS | {"anatomy", "ideas:measure", "data", "models", "training", "search", "real"}
MUST_NOT_IMPORT = {
    **dict.fromkeys(ANYBODYS | {"ideas:record", "records"}, DRAWING | HEAVY_PACKAGES),
    **dict.fromkeys(MAKES_NO_PICTURES, DRAWING),
    **dict.fromkeys(("ideas:figure", "drawing", "figures"), HEAVY_PACKAGES | {"ipywidgets"}),
}
CORE = {"torch", "transformers", "peft"}
COMES_WITH_THE_CORE = {"numpy", "safetensors", "accelerate", "huggingface_hub", "tqdm", "yaml", "packaging"}
COMES_WITH_THE_LAB = {"IPython", "traitlets", "comm", "jupyter_client", "jupyter_core"}
COLAB = {
    "torch": "2.11", "transformers": "5.15.0", "peft": "0.20.0", "numpy": "2.1.3",
    "ipywidgets": "7.7.1", "plotly": "5.24.1", "anywidget": "0.9.21", "ipython": "7.34.0", "ipykernel": "6.17.1",
}  # fmt: skip
HEAVY = ("torch", "transformers", "peft", "numpy", "plotly", "ipywidgets", "IPython", "sklearn")
EMPTY_WORDS = {"util", "utils", "helper", "helpers", "manager", "managers", "common"}
MAX_LINES = 300


def requirements(*extras: str) -> dict[str, Requirement]:
    lines = [*PROJECT["dependencies"], *(r for e in extras for r in PROJECT["optional-dependencies"][e])]
    asked = list(map(Requirement, lines))
    inner = {extra for r in asked if r.name == PROJECT["name"] for extra in r.extras} - set(extras)
    own = {r.name: r for r in asked if r.name != PROJECT["name"]}
    return requirements(*extras, *sorted(inner)) if inner else own


def pins(file: str = "constraints.txt") -> dict[str, str]:
    lines = (ROOT / file).read_text().split("\n")
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_keep_to_the_plan(module: Path) -> None:
    home = part(module)
    assert home in MAY_IMPORT, f"{home} has no place in the plan of the house"
    for name, line in imports(module):
        top, _, rest = name.partition(".")
        where = f"{module.relative_to(ROOT)}:{line} imports {name}"
        if top == "glora_lab":
            names_no_module = rest in glora_lab.__all__ or rest in {"", "__version__"}
            other = home if names_no_module else room(name)
            assert other == home or other in MAY_IMPORT[home] | ANYBODYS, where
            assert not (rest in glora_lab.__all__ and home != "panels"), f"{where}: name the module it lives in"
        else:
            assert top not in MUST_NOT_IMPORT.get(home, set()), where


def test_no_name_is_empty() -> None:
    for module in MODULES:
        for name in defined_names(module):
            words = set(re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name))
            assert not {word.lower() for word in words} & EMPTY_WORDS, f"{name} in {module.relative_to(ROOT)}"


def test_no_file_is_two_ideas() -> None:
    lengths = {str(m.relative_to(ROOT)): len(m.read_text().splitlines()) for m in MODULES}
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}


def test_the_dependencies_are_these_three() -> None:
    assert {Requirement(line).name for line in PROJECT["dependencies"]} == CORE


def test_every_import_is_a_dependency() -> None:
    lab = {"scikit_learn": "sklearn"}
    declared = {lab.get(name.replace("-", "_"), name.replace("-", "_")) for name in requirements("lab", "search")}
    known = declared | COMES_WITH_THE_CORE | COMES_WITH_THE_LAB | set(sys.stdlib_module_names) | {"jaxtyping"}
    for module in MODULES:
        for name, line in imports(module):
            assert name.split(".")[0] in known | {"glora_lab"}, f"{module.relative_to(ROOT)}:{line}: {name}"


def test_colab_is_new_enough() -> None:
    for name, requirement in requirements("lab").items():
        if name in COLAB:
            assert requirement.specifier.contains(COLAB[name]), f"{requirement} leaves out Colab's {COLAB[name]}"


def test_ci_runs_colabs_versions_as_well() -> None:
    pinned = pins("constraints-colab.txt")
    assert {name: pinned[name] for name in COLAB} == COLAB | {"torch": pins()["torch"]}  # the wheel that is at hand
    assert set(requirements("notebooks")) <= pinned.keys()


def test_ci_runs_an_exact_set() -> None:
    pinned = pins()
    assert set(map(canonicalize_name, requirements("lab", "test"))) <= pinned.keys()
    assert all(re.fullmatch(r"[\w.]+", version) for version in pinned.values())  # no local build, no address


def test_pre_commit_runs_the_pinned_ruff() -> None:
    config = (ROOT / ".pre-commit-config.yaml").read_text()
    assert f"rev: v{pins()['ruff']}\n" in config


def test_the_changelog_is_open() -> None:
    assert "\n## [Unreleased]\n" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("name", glora_lab.__all__)
def test_public_names_resolve(name: str) -> None:
    assert getattr(glora_lab, name).__name__ == name
    assert name in dir(glora_lab)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Glora'"):
        _ = glora_lab.Glora


def test_importing_the_package_loads_nothing_and_takes_no_time() -> None:
    program = f"""
import statistics, sys, time
took = []
for _ in range(5):
    sys.modules.pop("glora_lab", None)
    start = time.process_time()
    import glora_lab
    took.append(time.process_time() - start)
assert not set({HEAVY}) & set(sys.modules), set({HEAVY}) & set(sys.modules)
assert min(took) < 0.1, took
"""
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
