"""The first picture of the course waits for what it needs, and for nothing else that is slow to import."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.source import ROOT, code_cells

# seconds of waiting each, and no part of eight digits and what a model says about them
LATER = ("sklearn", "pandas", "scipy.stats", "datasets", "optuna", "torchvision")
LAST = f"""
import sys
print("\\n" + " ".join(name for name in {LATER} if name in sys.modules))
"""


def test_the_first_picture_imports_nothing_that_it_does_not_need() -> None:
    sources = ("".join(cell["source"]) for cell in code_cells(ROOT / "notebooks/00_start_here.ipynb"))
    first = next(source for source in sources if "show(" in source)
    command = [sys.executable, "-W", "ignore", "-c", first + LAST]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == ""
