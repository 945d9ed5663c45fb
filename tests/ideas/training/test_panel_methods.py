"""TrainPanel's three methods: each shows what is its own, makes its own configuration, and trains."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import peft
import pytest
from peft import LoraConfig

from glora_lab.adapters import GloraConfig, GraloraConfig
from glora_lab.adapters.view import adapted_layers
from glora_lab.measure import path_budget
from glora_lab.models import load_model
from glora_lab.panels import TrainPanel
from glora_lab.training import evaluate

KINDS = {"LoRA": LoraConfig, "GLoRA": GloraConfig, "GraLoRA": GraloraConfig}


def shown(panel: TrainPanel) -> set[str]:
    methods = panel.controls.methods
    own = {"preset": methods.preset, "modes": methods.modes, "k": methods.k, "hybrid": methods.hybrid}
    named = {**own, "alpha": methods.alpha}
    return {name for name, control in named.items() if "glora-away" not in control._dom_classes}


@pytest.mark.parametrize(
    ("method", "own"),
    [("LoRA", {"alpha"}), ("GLoRA", {"preset", "modes"}), ("GraLoRA", {"k", "hybrid", "alpha"})],
)
def test_each_method_shows_what_is_its_own(method: str, own: set[str]) -> None:
    panel = TrainPanel()
    panel.controls.methods.method.value = method
    assert shown(panel) == own == shown(TrainPanel(method=method))
    assert type(panel.config) is KINDS[method] and panel.budget.method == method


def test_controls_reach_the_configuration_of_lora_and_gralora() -> None:
    panel = TrainPanel(method="LoRA", rank=6)
    methods = panel.controls.methods
    assert (panel.config.r, panel.config.lora_alpha) == (6, 6)
    methods.alpha.label = "½ × rank"
    panel.controls.rank.value = 5
    assert (panel.config.r, panel.config.lora_alpha) == (5, 2.5)
    assert panel.controls.run_name == "LoRA, rank 5, alpha ½ × rank"
    methods.method.value = "GraLoRA"  # with r = 5, which no k but 1 divides
    methods.k.value, panel.controls.rank.value = 4, 8
    methods.hybrid.value, methods.alpha.label = 3, "2 × rank"
    config = panel.config
    assert (config.r, config.gralora_k, config.hybrid_r, config.alpha) == (8, 4, 3, 22)
    assert panel.controls.run_name == "GraLoRA, rank 8, k 4, hybrid rank 3, alpha 2 × rank"
    assert panel.problem == "" and panel.errors == []


@pytest.mark.parametrize("method", KINDS)
def test_the_cost_is_the_methods_own_and_what_trains(method: str) -> None:
    panel = TrainPanel(method=method, rank=4, steps=2)
    assert panel.budget == path_budget(load_model("digits-vit"), panel.config)
    assert f"<b>{panel.budget.total:,}</b> parameters" in panel.cost.value
    panel.train()
    panel.wait()
    (run,) = panel.runs
    assert run.params == panel.budget.total and run.name == panel.controls.run_name
    assert len(adapted_layers(panel.model)) == 18 and panel.errors == []


@pytest.mark.parametrize("model", ["digits-vit", "bytes-llama"])
@pytest.mark.parametrize("method", KINDS)
def test_what_is_counted_without_building_is_what_peft_would_build(method: str, model: str) -> None:
    panel = TrainPanel(model, method=method, rank=3, k=1)
    panel.controls.methods.hybrid.value = 2
    assert panel.budget == path_budget(load_model(model), panel.config) and panel.budget.total
    panel.close()


def test_the_equation_is_the_methods_with_the_numbers_in_force() -> None:
    panel = TrainPanel(method="GraLoRA", rank=8, k=4)
    assert "4 × 4 blocks of rank 2" in panel._equation.value
    panel.controls.methods.hybrid.value = 2
    assert "α/(r + h)" in panel._equation.value and "rank 2" in panel._equation.value
    panel.controls.methods.method.value = "LoRA"
    assert "B A" in panel._equation.value and "rank 8" in panel._equation.value
    panel.controls.methods.alpha.label = "4 × rank"
    assert ">4</span>" in panel._equation.value
    panel.controls.methods.method.value = "GLoRA"
    assert 'data-path="A"' in panel._equation.value


@pytest.mark.parametrize(("rank", "k"), [(12, 3), (6, 4)], ids=["features", "rank"])
def test_an_impossible_k_says_why_and_is_not_trained(rank: int, k: int) -> None:
    panel = TrainPanel(method="GraLoRA", rank=4, k=2, steps=2)
    panel.train()
    panel.wait()
    panel.controls.rank.value = rank
    session, model, before = panel.session, panel.model, panel.config
    panel.controls.methods.k.value = k
    says = f"`k` (={k}) must divide the rank (={rank}) and the layers' features (64 and 128); these do: 1"
    assert panel.problem.startswith(says) and panel.budget.total == 0
    panel.train()
    assert panel.problem.startswith(says)
    assert (panel.session, panel.model, panel.config) == (session, model, before)
    assert len(panel.runs) == 1 and panel.errors == []
    panel.controls.methods.k.value = 2
    assert panel.problem == "" and panel.config.gralora_k == 2 and panel.budget.total > 0


def test_the_settings_of_a_method_that_is_not_shown_are_kept() -> None:
    panel = TrainPanel(preset="A + B")
    methods = panel.controls.methods
    methods.method.value = "GraLoRA"
    methods.k.value = 4
    methods.method.value = "GLoRA"
    assert panel.config.modes == {"A": "lora", "B": "lora", "C": "none", "D": "none", "E": "none"}
    methods.method.value = "GraLoRA"
    assert panel.config.gralora_k == 4


@pytest.mark.parametrize("wrong", [{"method": "DoRA"}, {"k": 0}], ids=lambda wrong: next(iter(wrong)))
def test_a_wrong_start_is_refused_by_name_and_value(wrong: dict[str, Any]) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"`{name}` \\(={value!r}\\)"):
        TrainPanel(**wrong)


@pytest.mark.parametrize("method", KINDS)
def test_what_is_kept_loads_with_the_line_that_the_panel_gives(method: str, tmp_path: Path) -> None:
    panel = TrainPanel(method=method, rank=4, steps=3)
    panel.train()
    panel.wait()
    panel.keeping.folder.value = str(tmp_path / "kept")
    panel.keep()
    assert panel.errors == [] and panel.problem == ""
    namespace: dict[str, Any] = {}
    exec(panel.keeping.code, namespace)
    again = namespace["model"].eval()
    assert evaluate(again, panel.task.test) == panel.runs[0].metric
    assert type(again.peft_config["default"]) is KINDS[method]
    assert ("load_adapter" in panel.keeping.code) == (method != "LoRA")
    shows = html.unescape(panel.keeping.says.value)
    assert panel.keeping.code in shows and f"config = {KINDS[method].__name__}(" in shows


def test_what_lora_leaves_behind_is_plain_peft(tmp_path: Path) -> None:
    panel = TrainPanel(method="LoRA", rank=2, steps=2)
    panel.train()
    panel.wait()
    panel.keeping.folder.value = str(tmp_path / "kept")
    panel.keep()
    again = peft.PeftModel.from_pretrained(load_model("digits-vit"), tmp_path / "kept")
    assert isinstance(again.base_model, peft.LoraModel)
    assert evaluate(again.eval(), panel.task.test) == panel.runs[0].metric


def test_a_closed_panel_closes_the_controls_that_are_hidden() -> None:
    panel = TrainPanel(method="LoRA")
    hidden: list[widgets.Widget] = [panel.controls.methods.k, panel.controls.modes, panel.keeping.which]
    panel.close()
    assert all(control.comm is None for control in hidden)
