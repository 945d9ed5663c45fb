"""What a new method needs: one file with one class. It goes through every instrument with no edit anywhere else."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import peft
import pytest

import glora_lab
from glora_lab.adapters.own import method as own
from glora_lab.data import load_task
from glora_lab.models import load_model
from glora_lab.panels import BlockPanel, MergePanel, TrainPanel, XrayPanel
from tests.source import MODULES

SOURCE = """
from glora_lab import DeltaMethod


class Staircase(DeltaMethod):
    strength = 2.0

    def shapes(self, out, in_, r):
        return {"rows": (out, r), "columns": (r, in_)}

    def delta(self, w0, rows, columns):
        return self.strength * rows @ columns

    def blocks(self, rows, columns):
        return self.strength * rows[None, None], columns.T[None, None]
"""
LAYER = "vit.layers.0.mlp.fc1"


@pytest.fixture
def method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[glora_lab.DeltaMethod]:
    """The class, from a file outside of the package."""
    file = tmp_path / "staircase.py"
    file.write_text(SOURCE)
    spec = importlib.util.spec_from_file_location("staircase", file)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "staircase", module)
    monkeypatch.setattr(own, "DEFINED", dict(own.DEFINED))
    spec.loader.exec_module(module)
    return module.Staircase


def test_one_file_one_class_and_no_edit_elsewhere(method: type) -> None:
    assert SOURCE.count("class ") == 1 and SOURCE.count("import") == 1
    assert len(SOURCE.strip().splitlines()) <= 14
    assert not [module for module in MODULES if "Staircase" in module.read_text()]
    # what the package itself says of this kind of method, beside the room that it has: no instrument among it
    named = {"DeltaMethod", "DeltaConfig", "DeltaLayer", "DELTA_LAB"}
    others = {module: module.read_text() for module in MODULES if module.parent.name != "own"}
    beside = [module.name for module, text in others.items() if any(name in text for name in named)]
    assert beside and not [name for name in beside if name.startswith(("measure", "figure", "record"))]


def test_through_every_measure_and_every_panel(method: type, tmp_path: Path) -> None:
    task, base = load_task("digits-turned"), load_model("digits-vit")
    model = peft.get_peft_model(base, method.config(r=4, target_modules=["fc1", "fc2"]))
    glora_lab.fit(model, task, steps=2, lr=0.01, seed=0)
    batch = task.train.rows(slice(0, 16))
    records = {
        "path_budget": glora_lab.path_budget(model),
        "block_grid": glora_lab.block_grid(model, LAYER),
        "block_detail": glora_lab.block_detail(model, LAYER, 0, 0),
        "delta_spectrum": glora_lab.delta_spectrum(model, LAYER),
        "gradient_report": glora_lab.gradient_report(model, batch, LAYER),
        "merge_report": glora_lab.merge_report(model, cycles=2, layer=LAYER),
        "xray": glora_lab.xray(model),
    }
    assert {records[name].method for name in ("path_budget", "gradient_report", "merge_report", "xray")} == {
        "Staircase"
    }
    for name, record in records.items():
        assert len(getattr(glora_lab, f"plot_{name}")(record).data), name
    model.save_pretrained(tmp_path / "kept")
    folder = glora_lab.xray(tmp_path / "kept")  # without the base: the tensors tell the sizes
    assert [row.norm for row in folder.rows] == pytest.approx([row.norm for row in records["xray"].rows])
    for panel in (
        BlockPanel(model, LAYER),
        MergePanel(model, LAYER, cycles=2),
        XrayPanel(model),
        XrayPanel(tmp_path / "kept"),
    ):
        assert panel.errors == [] and panel.problem == "", type(panel).__name__
        panel.close()


def test_through_training_and_a_race(method: type) -> None:
    panel = TrainPanel(method="LoRA", rank=2, k=2, preset="A + B", steps=2, methods={"stairs": method.config()})
    panel.race()
    panel.wait()
    assert [run.name for run in panel.runs][-1] == "stairs, rank 2" and len(panel.runs) == 4
    assert len({run.params for run in panel.runs if run.name.startswith(("LoRA", "stairs"))}) == 1
    assert panel.errors == [] and panel.problem == ""


def test_through_a_cost_report(method: type) -> None:
    base, batch = load_model("digits-vit"), load_task("digits-turned").train.rows(slice(0, 16))
    settings = {"r": 4, "target_modules": ["fc1", "fc2"]}
    methods = {"stairs": method.config(**settings), "LoRA": peft.LoraConfig(**settings)}
    stairs, lora = glora_lab.cost_report(base, batch, methods, repeats=1).rows
    assert (stairs.method, lora.method) == ("Staircase", "LoRA")
    assert (stairs.params, stairs.checkpoint_bytes) == (lora.params, lora.checkpoint_bytes)
