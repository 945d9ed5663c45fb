"""What is published installs, and carries the course: sdist, wheel from the sdist, and a fresh environment.

The fresh environment borrows this one's packages, so that torch is not installed again; glora_lab itself it has from
the wheel alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.source import COURSE, PACKAGE, ROOT

SHIPPED = {".py", ".js", ".css", ".json", ".safetensors", ".txt", ".html"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT), cwd=folder)
    return folder


@pytest.fixture(scope="module")
def fresh(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts' folder of a new environment with the wheel in it."""
    home = tmp_path_factory.mktemp("fresh")
    run(sys.executable, "-m", "venv", "--without-pip", str(home), cwd=home)
    python = home / "bin" / "python"
    (site,) = home.glob("lib/python*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    (wheel,) = built.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel), cwd=home)
    return python.parent


def run(*command: str, cwd: Path) -> str:
    paths = {"JUPYTER_PATH": str(Path(sys.prefix) / "share" / "jupyter"), "IPYTHONDIR": str(cwd / ".ipython")}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | paths
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def test_the_wheel_has_the_package_and_the_course(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("glora_lab/")}
    package = {
        str(p.relative_to(ROOT)) for p in PACKAGE.rglob("*") if p.suffix in SHIPPED and "__pycache__" not in p.parts
    }
    assert names == package | {f"glora_lab/notebooks/{notebook.name}" for notebook in COURSE}


def test_the_sdist_has_what_its_tests_need(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= {"README.md", "LICENSE", "pyproject.toml", "Makefile", "constraints.txt", "tests/test_wheel.py"}
    assert names >= {f"notebooks/{notebook.name}" for notebook in COURSE}


def test_the_index_takes_what_is_built(built: Path) -> None:
    """As the release's workflow asks, with the same version of the checker."""
    said = run(sys.executable, "-m", "twine", "check", "--strict", *map(str, built.iterdir()), cwd=built)
    assert said.count("PASSED") == 2


def test_a_newcomer_opens_the_course_in_an_empty_folder(fresh: Path, tmp_path: Path) -> None:
    said = run(str(fresh / "glora-lab"), "open", "--copy-only", cwd=tmp_path)
    assert f"{len(COURSE)} files copied" in said
    assert {path.name for path in (tmp_path / "notebooks").glob("*.*[bpy]")} == {path.name for path in COURSE}
    where = run(str(fresh / "python"), "-c", "import glora_lab; print(glora_lab.__file__)", cwd=tmp_path)
    assert where.startswith(str(fresh.parent))


def test_the_doctor_finds_nothing_to_mend(fresh: Path, tmp_path: Path) -> None:
    assert "Nothing to mend." in run(str(fresh / "glora-lab"), "doctor", cwd=tmp_path)


def test_the_first_notebook_runs_from_the_wheel(fresh: Path, tmp_path: Path) -> None:
    run(str(fresh / "glora-lab"), "open", "--copy-only", cwd=tmp_path)
    execute = "from nbclient.cli import main; main()"
    run(str(fresh / "python"), "-c", execute, "notebooks/00_start_here.ipynb", cwd=tmp_path)
