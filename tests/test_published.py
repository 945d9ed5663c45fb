"""What publishing will need: workflows and a citation that their schemas accept, and steps that there are."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.course.write import repository
from tests.source import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
CITATION = ROOT / "CITATION.cff"
SCHEMAS = [*((file, "vendor.github-workflows") for file in WORKFLOWS), (CITATION, "vendor.citation-file-format")]


def check(file: Path, schema: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("file, schema", SCHEMAS, ids=[file.name for file, _ in SCHEMAS])
def test_a_file_is_as_its_schema_says(file: Path, schema: str) -> None:
    done = check(file, schema)
    assert done.returncode == 0, done.stdout


def test_a_file_that_is_not_is_found(tmp_path: Path) -> None:
    wrong = tmp_path / "test.yml"
    wrong.write_text((ROOT / ".github/workflows/test.yml").read_text().replace("runs-on:", "runs-upon:"))
    assert check(wrong, "vendor.github-workflows").returncode == 1


def test_a_workflow_calls_what_there_is() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for file in WORKFLOWS:
        text = file.read_text()
        assert set(re.findall(r"\bmake ([a-z-]+)", text)) <= targets
        assert all((ROOT / script).is_file() for script in re.findall(r"(\.ci/\w+)", text))


def test_a_workflow_installs_the_versions_that_are_tested() -> None:
    pinned = set((ROOT / "constraints.txt").read_text().splitlines())
    installed = {name for file in WORKFLOWS for name in re.findall(r"\b[\w.-]+==[\w.]+", file.read_text())}
    assert installed and installed <= pinned


def test_the_citation_names_the_address_of_the_project() -> None:
    assert f"repository-code: https://github.com/{repository()}\n" in CITATION.read_text()
