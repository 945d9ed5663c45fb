"""bytes-llama learns its task: an adapter changes what it writes, and some paths are inert without biases."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from peft import LoraConfig, PeftConfig, get_peft_model

from glora_lab.adapters import GloraConfig, GraloraConfig
from glora_lab.data import Task, load_task
from glora_lab.measure import path_budget
from glora_lab.models import load_model
from glora_lab.training import TrainSession, evaluate, fit, write

BODY = r".*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
RUN = {"steps": 30, "lr": 1e-2, "batch_size": 8, "eval_every": 30}
METHODS: dict[str, Callable[[], PeftConfig]] = {
    "LoRA": lambda: LoraConfig(r=4, lora_alpha=4, target_modules=BODY),
    "GLoRA": lambda: GloraConfig.only(B="lora", r=4, target_modules=BODY),
    "GraLoRA": lambda: GraloraConfig(r=4, alpha=4, gralora_k=2, target_modules=BODY),
}
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")


@pytest.fixture(scope="module")
def capitals() -> Task:
    return load_task("text-capitals")


def test_the_frozen_model_writes_small_letters_and_reads_capitals_badly(capitals: Task) -> None:
    model = load_model("bytes-llama")
    assert evaluate(model, load_task("text").test) > 0.5
    assert evaluate(model, capitals.test) < 0.2
    assert write(model).capitals < 0.1


@pytest.mark.parametrize(("method", "seed"), [*((method, 0) for method in METHODS), ("GLoRA", 1), ("GLoRA", 2)])
def test_an_adapter_makes_it_write_capitals(capitals: Task, method: str, seed: int) -> None:
    torch.manual_seed(seed)
    model = get_peft_model(load_model("bytes-llama"), METHODS[method]())
    frozen = write(model)
    steps = list(fit(model, capitals, **RUN, seed=seed))
    assert steps[-1].metric > steps[0].metric + 0.1
    assert evaluate(model, capitals.test) > 0.25
    assert write(model).capitals > 0.8 > 0.1 > frozen.capitals
    with model.disable_adapter():
        assert write(model) == frozen


def test_a_session_trains_it_as_fit_does(capitals: Task) -> None:
    numbers = {"steps": 3, "lr": 1e-2, "seed": 0, "batch_size": 4}
    losses = []
    for _ in range(2):
        torch.manual_seed(0)
        model = get_peft_model(load_model("bytes-llama"), METHODS["GLoRA"]())
        if losses:
            session = TrainSession(model, capitals, **numbers)
            session.start()
            losses.append([step.loss for step in session.wait(250)])
        else:
            losses.append([step.loss for step in fit(model, capitals, **numbers)])
    assert losses[0] == losses[1]


def test_c_d_and_e_are_inert_in_a_model_without_biases() -> None:
    with pytest.warns(UserWarning, match=r"Inert GLoRA paths.*: C, E .*, D "):
        model = get_peft_model(load_model("bytes-llama"), GloraConfig(r=4, target_modules=BODY))
    budget = path_budget(model)
    assert budget.by_path()["A"] == budget.by_path()["B"] > 0
    assert {path: budget.by_path()[path] for path in "CDE"} == {"C": 0, "D": 0, "E": 0}
    assert set(budget.inert_everywhere()) == {"C", "D", "E"}


def test_alone_they_leave_nothing_to_train() -> None:
    with pytest.raises(ValueError, match="bias"):
        get_peft_model(load_model("bytes-llama"), GloraConfig.only(C="vector", E="vector", target_modules=BODY))


def test_a_bias_that_is_added_makes_c_and_e_work_and_d_never(capitals: Task) -> None:
    config = GloraConfig.only(C="vector", D="vector", E="vector", bias_free="add", target_modules=BODY)
    with pytest.warns(UserWarning, match="D"):
        model = get_peft_model(load_model("bytes-llama"), config)
    budget = path_budget(model)
    assert set(budget.inert_everywhere()) == {"D"}
    assert budget.by_path()["C"] > 0 and budget.by_path()["E"] > 0
    before = evaluate(model, capitals.validation)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        steps = list(fit(model, capitals, **RUN, seed=0))
    assert steps[-1].metric > before + 0.05
