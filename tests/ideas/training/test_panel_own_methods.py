"""Methods of one's own in TrainPanel: chosen, raced at equal parameters, kept."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from glora_lab import DeltaMethod, load_adapter
from glora_lab.adapters.view import adapted_layers
from glora_lab.models import load_model
from glora_lab.panels import TrainPanel
from tests.adapters.own.methods import OwnLora, RowScale

START: dict[str, Any] = {"method": "LoRA", "rank": 4, "preset": "A + B", "k": 4, "steps": 3}


def methods() -> dict[str, Any]:
    return {"mine": OwnLora.config(alpha=8), "rows": RowScale.config()}


def test_it_is_a_method_like_the_others() -> None:
    panel = TrainPanel(**{**START, "method": "mine"}, methods=methods())
    assert "mine" in panel._equation.value and panel.budget.total == 10_752
    panel.controls.rank.value = 2
    assert panel.budget.total == 10_752 // 2 and panel.config.settings == {"alpha": 8}
    panel.train()
    assert len(panel.wait()) == 3 and [run.name for run in panel.runs] == ["mine, rank 2"]
    assert panel.errors == [] and panel.problem == ""


def test_they_race_the_others_at_equal_parameters() -> None:
    panel = TrainPanel(**START, methods=methods())
    panel.race()
    panel.wait()
    names = ["LoRA, rank 4", "GLoRA A+B, rank 2", "GraLoRA, rank 4, k 4", "mine, rank 4", "rows"]
    assert [run.name for run in panel.runs] == names
    counts = [run.params for run in panel.runs]
    assert set(counts[:4]) == {10_752} and 0 < counts[4] < 10_752
    first = [run.steps[0].loss for run in panel.runs]
    assert max(first) - min(first) < 1e-5
    assert panel.errors == [] and panel.problem == "" and "rows has" in panel.racing.words


def test_what_else_its_configuration_trains_is_counted() -> None:
    own = {"mine": OwnLora.config(modules_to_save=["classifier"])}
    panel = TrainPanel(**{**START, "method": "mine"}, methods=own)
    assert panel.budget.by_path()["whole"] == 650 and panel.budget.total == 10_752 + 650


def test_what_is_above_the_budget_whatever_its_rank_cannot_race() -> None:
    panel = TrainPanel(**{**START, "rank": 1}, methods={"whole": Whole.config()})
    for method in ("GLoRA", "GraLoRA"):
        panel.racing.boxes[method].value = False
    panel.race()
    assert "whole cannot race with 2,688 parameters: it has" in panel.problem and panel.runs == []


class Whole(DeltaMethod):
    def shapes(self, out, in_, r):
        return {"matrix": (out, in_)}

    def delta(self, w0, matrix):
        return matrix + 0 * w0

    def init(self, name, tensor):
        torch.nn.init.zeros_(tensor)


def test_a_method_that_does_not_work_is_said_and_is_no_error() -> None:
    class Turned(OwnLora):
        def delta(self, w0, A, B):
            return (B @ A).T[:2]

    panel = TrainPanel(**{**START, "method": "turned"}, methods={"turned": Turned.config()})
    assert "Turned.delta" in panel.problem and panel.budget.total == 0 and panel.errors == []
    panel.controls.methods.method.value = "LoRA"
    assert panel.problem == "" and panel.budget.total == 10_752


@pytest.mark.parametrize(
    "bad", [{"LoRA": OwnLora.config()}, {"": OwnLora.config()}, {"mine": OwnLora}, {3: OwnLora.config()}]
)
def test_names_and_configurations_are_checked(bad: dict[Any, Any]) -> None:
    with pytest.raises(ValueError, match=r"`methods`.*must be a dict from a name of your own"):
        TrainPanel(methods=bad)


def test_it_is_kept_with_the_code_that_makes_it(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    panel = TrainPanel(**{**START, "method": "mine"}, methods=methods())
    panel.train()
    panel.wait()
    panel.keep()
    assert panel.problem == "" and panel.errors == []
    assert "config = OwnLora.config(\n    r=4,\n    alpha=8,\n    target_modules=[" in panel.keeping.says.value
    loaded = load_adapter(load_model("digits-vit"), tmp_path / "my_adapter")
    for name, layer in adapted_layers(panel.model).items():
        assert torch.equal(layer.weight_delta("default"), adapted_layers(loaded)[name].weight_delta("default"))
