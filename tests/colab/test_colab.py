"""What is only true at Colab's versions. Runs in the environment of constraints-colab.txt: `make colab`."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from tests.source import ROOT
from tests.test_house import COLAB, pins

HERE = pins("constraints-colab.txt")

pytestmark = pytest.mark.skipif(
    metadata.version("ipywidgets") != COLAB["ipywidgets"], reason="not the environment of constraints-colab.txt"
)


def test_these_are_colabs_versions() -> None:
    for name, version in COLAB.items():
        if name != "torch":  # the wheel that is at hand
            assert metadata.version(name) == HERE[canonicalize_name(name)] == version


def test_installing_the_course_upgrades_nothing(tmp_path: Path) -> None:
    """What the first cell of a notebook asks of pip, for the package as it is here: it brings itself and no other."""
    hatch = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(hatch, check=True, capture_output=True, timeout=600)
    (wheel,) = tmp_path.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--quiet", "--report", "-"]
    done = subprocess.run([*pip, f"{wheel}[notebooks]"], check=True, capture_output=True, timeout=600)
    installed = {item["metadata"]["name"] for item in json.loads(done.stdout)["install"]}
    assert installed <= {"glora-lab"}, installed
