"""binder/ says what Binder needs. `.ci/binder FOLDER` makes the environment for real."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests.source import ROOT
from tests.test_house import PROJECT, pins

BINDER = ROOT / "binder"


def asked() -> list[str]:
    lines = (BINDER / "requirements.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_the_python_is_named_and_fits() -> None:
    (line,) = (BINDER / "runtime.txt").read_text().split()
    version = line.removeprefix("python-")
    assert version == "3.11" and SpecifierSet(PROJECT["requires-python"]).contains(version)


def test_the_package_itself_and_a_torch_without_cuda_are_installed() -> None:
    constraint, index, torch, package = asked()
    assert (BINDER / constraint.removeprefix("-c ")).resolve() == ROOT / "constraints.txt"
    assert index.startswith("--extra-index-url ") and index.endswith("/cpu")
    assert Requirement(torch).specifier == SpecifierSet(f"=={pins()['torch']}+cpu")
    assert package == ".[lab,real]" and {"lab", "real"} <= set(PROJECT["optional-dependencies"])


@pytest.mark.parametrize("script", [BINDER / "postBuild", ROOT / ".ci" / "binder"])
def test_a_script_stops_at_the_first_error(script: Path) -> None:
    assert os.access(script, os.X_OK)
    assert "\nset -euo pipefail\n" in script.read_text()
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_postbuild_fails_where_the_doctor_finds_something(tmp_path: Path) -> None:
    """Run with a torch and a doctor of the test's own, which say what they are told to."""
    shutil.copy(BINDER / "postBuild", tmp_path)
    for name, code in (("python", "$TORCH"), ("glora-lab", "$DOCTOR")):
        (tmp_path / name).write_text(f"#!/bin/sh\nexit {code}\n")
        (tmp_path / name).chmod(0o755)
    for torch, doctor in ((0, 0), (1, 0), (0, 1)):
        told = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "TORCH": str(torch), "DOCTOR": str(doctor)}
        done = subprocess.run([str(tmp_path / "postBuild")], env=told, check=False)
        assert done.returncode == max(torch, doctor)
