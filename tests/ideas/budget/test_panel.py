"""BudgetPanel: counts are the measure's, snippets run, and what cannot be trained is said and is no error."""

from __future__ import annotations

import time
from typing import Any

import peft
import pytest
from torch import nn

from glora_lab.adapters import GloraConfig
from glora_lab.measure import path_budget
from glora_lab.models import architecture, load_model
from glora_lab.panels import BudgetPanel


class BiasFree(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q_proj, self.k_proj = nn.Linear(8, 8, bias=False), nn.Linear(8, 4, bias=False)
        self.lm_head = nn.Linear(4, 10, bias=False)


@pytest.fixture(scope="module")
def panel() -> BudgetPanel:
    return BudgetPanel()


def run(snippet: str) -> Any:
    namespace: dict[str, Any] = {}
    exec(snippet, namespace)
    return namespace.get("config")


def test_it_counts_digits_vit_beside_lora_of_the_same_rank(panel: BudgetPanel) -> None:
    model = load_model("digits-vit")
    assert panel.budget.rows == path_budget(model, panel.config).rows and panel.budget.total > 0
    targets = panel.targets.targets
    assert "classifier" not in targets and "q_proj" in targets
    lora = peft.LoraConfig(r=panel.rank.value, target_modules=targets)
    assert panel.lora.total == path_budget(model, lora).total == panel.budget.by_path()["B"]
    assert (panel.budget.model, panel.budget.method, panel.lora.method) == ("digits-vit", "GLoRA", "LoRA")


def test_controls_reach_config_budget_and_figure() -> None:
    panel = BudgetPanel()
    panel.rank.value = 2
    panel.modes.set_modes({"B": "lora"})
    for name, box in panel.targets.boxes.items():
        box.value = name == "fc1"
    assert panel.config.target_modules == {"fc1"} and panel.config.r == 2
    assert panel.budget.total == panel.lora.total == 3 * 2 * (64 + 128)
    assert panel.figure.summary.startswith("GLoRA trains 1,152 parameters")
    assert panel.figure.figure.data[0].x == (1152, 1152)


def test_a_well_known_architecture_is_counted_without_weights() -> None:
    panel = BudgetPanel()
    panel.model_choice.value = "GPT-2"
    assert set(panel.targets.boxes) == {"c_attn", "c_proj", "c_fc", "lm_head"}
    panel.rank.value = 4
    expected = path_budget(architecture("GPT-2"), panel.config)
    assert panel.budget.total == expected.total and panel.budget.model == "GPT-2"
    assert panel.errors == []


def test_inert_paths_are_struck_and_named() -> None:
    panel = BudgetPanel(BiasFree())
    assert panel.model_choice.value == "this model" and panel.budget.model == "BiasFree"
    assert set(panel.budget.inert_everywhere()) == {"C", "D", "E"} and panel.targets.targets == ["q_proj", "k_proj"]
    assert panel.equation.value.count("line-through") == 3
    panel.bias_free.value = "add"
    assert set(panel.budget.inert_everywhere()) == {"D"} and panel.config.bias_free == "add"


@pytest.mark.parametrize("modes", [{}, {"E": "vector"}])
def test_nothing_to_train_is_said_and_is_no_error(modes: dict[str, str]) -> None:
    panel = BudgetPanel(BiasFree())
    panel.modes.set_modes(modes)
    assert panel.budget.total == 0 and panel.budget.inert_everywhere().keys() == modes.keys()
    assert panel.equation.value.count("line-through") == len(modes)
    assert "nothing to train" in panel.problem and panel.errors == []
    panel.modes.set_modes({"B": "lora"})
    assert panel.problem == "" and panel.budget.total > 0


def test_no_targets_are_said_and_are_no_error() -> None:
    panel = BudgetPanel(BiasFree())
    for box in panel.targets.boxes.values():
        box.value = False
    assert panel.budget.total == panel.lora.total == 0 and panel.problem and panel.errors == []


def test_the_snippet_makes_the_configuration() -> None:
    panel = BudgetPanel(BiasFree())
    panel.modes.set_modes({"A": "vector", "B": "lora", "C": "vector"})
    panel.rank.value = 3
    made = run(panel.snippet)
    assert type(made) is GloraConfig and made.modes == panel.config.modes
    assert (made.r, made.target_modules) == (3, {"q_proj", "k_proj"})
    panel.code_for.value = "peft"
    assert "config_A='vector' with config_B='lora'" in panel.snippet and run(panel.snippet) is None
    panel.modes.set_modes({"B": "lora"})
    assert type(run(panel.snippet)) is peft.LoraConfig
    assert panel.snippet.splitlines()[0] in panel.code.value


def test_the_boxes_of_another_model_replace_the_first(panel: BudgetPanel) -> None:
    panel.model_choice.value = "BERT-base"
    assert "query" in panel.targets.boxes and "q_proj" not in panel.targets.boxes
    panel.model_choice.value = "digits-vit"
    assert "q_proj" in panel.targets.boxes and panel.errors == []


def test_code_for_peft_says_that_its_glora_does_not_take_gpt2() -> None:
    panel = BudgetPanel()
    panel.model_choice.value = "GPT-2"
    panel.code_for.value = "peft"
    assert "takes nn.Linear alone" in panel.snippet and run(panel.snippet) is None
    panel.modes.set_modes({"B": "lora"})
    assert type(run(panel.snippet)) is peft.LoraConfig
    panel.model_choice.value = "BERT-base"
    panel.modes.set_modes({"A": "lora", "B": "lora"})
    assert type(run(panel.snippet)) is peft.GloraConfig


def test_paths_that_work_in_some_layers_are_not_struck() -> None:
    panel = BudgetPanel()
    panel.model_choice.value = "Qwen2.5-7B"
    assert panel.budget.by_path()["C"] > 0 and panel.budget.inert_everywhere() == {}
    assert f"C is inert in {28 * 4} of {28 * 7} layers" in panel.figure.summary


@pytest.mark.parametrize("name", ["GPT-2", "Qwen2.5-7B"])
def test_an_architecture_is_counted_by_plans_as_by_what_is_built(name: str) -> None:
    panel = BudgetPanel()
    panel.model_choice.value = name
    for modes in ({"A": "lora", "B": "vector", "C": "vector", "D": "constant"}, {"B": "lora", "E": "vector"}):
        panel.modes.set_modes(modes)
        panel.rank.value += 3
        built = path_budget(architecture(name), panel.config)
        assert (panel.budget.rows, panel.budget.model_params) == (built.rows, built.model_params)
        assert panel.budget.method == built.method
        lora = path_budget(
            architecture(name), peft.LoraConfig(r=panel.rank.value, target_modules=panel.targets.targets)
        )
        assert (panel.lora.rows, panel.lora.method, panel.lora.model_params) == (lora.rows, "LoRA", lora.model_params)


def test_a_change_of_rank_on_the_largest_architecture_builds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = BudgetPanel()
    panel.model_choice.value = "Llama-3-70B"

    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("a model was built")

    made = nn.Linear.__init__
    monkeypatch.setattr(nn.Linear, "__init__", never)
    seconds = []
    for rank in (5, 6, 7, 9, 10):
        begun = time.process_time()
        panel.rank.value = rank
        seconds.append(time.process_time() - begun)
    monkeypatch.setattr(nn.Linear, "__init__", made)
    print(f"a change of rank on Llama-3-70B: {sorted(seconds)[2] * 1000:.0f} ms of the processor")
    assert panel.errors == [] and panel.config.r == 10 and panel.budget.total > panel.lora.total
