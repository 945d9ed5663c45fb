"""Whatever writer is killed at whatever moment: a reader finds the old adapter, the new one, or a refusal in words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.faults.counts import COUNTED
from tests.source import ROOT

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="a killed writer is a forked process"),
    pytest.mark.timeout(600),
]
AT_LEAST = 60  # kills of each
WRITERS = {
    "save_pretrained, GLoRA", "save_pretrained, GraLoRA", "save_pretrained of two adapters",
    "save_pretrained of transformers", "export_peft, peft, GLoRA", "export_peft, peft, GraLoRA", "export_peft, lora",
    "Keep, GLoRA", "Keep, LoRA", "glora-lab open",
}  # fmt: skip


def test_no_kill_leaves_anything_else(record_property: Callable[[str, object], None]) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "tests.faults.campaign"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    *table, last = done.stdout.splitlines()
    record_property(COUNTED, table)
    met = json.loads(last)
    assert met.keys() == WRITERS
    for name, one in met.items():
        assert one["outside"] == [], f"{name}: {one['outside'][:5]}"
        assert one["kills"] >= AT_LEAST and one["old"] and one["new"] and one["refused"], f"{name}: {one}"
