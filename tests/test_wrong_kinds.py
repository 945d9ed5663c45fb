"""A name where a model is meant, a task where a part is, a matrix where a record is: refused in words."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from glora_lab import (
    GloraConfig,
    GraloraConfig,
    SearchSpace,
    block_grid,
    descent,
    evaluate,
    load_adapter,
    load_model,
    load_task,
    outliers,
    path_budget,
    predict,
    rank_by_k,
    rank_reach,
)
from glora_lab.data import Part, Task, decode
from glora_lab.figures import describe_race, equation, low_rank_equation, plot_predictions, plot_training
from glora_lab.measure import best_changes
from glora_lab.models import meta_model
from glora_lab.records import Step
from glora_lab.training import Race, read

MODEL, TASK = load_model("digits-vit"), load_task("digits")

WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "model's name to count on": (
        lambda: path_budget("digits-vit", GloraConfig()),
        r"`model_or_config` \(='digits-vit'",
    ),
    "method's name": (lambda: path_budget(MODEL, "lora"), r"`adapter_config` \(='lora'\) must be a configuration of"),
    "model's name to look into": (
        lambda: block_grid("digits-vit", "fc1"),
        r"`model` \(='digits-vit'\) must be a model",
    ),
    "layer's number": (lambda: block_grid(MODEL, 3), r"`layer` \(=3\) must be the name of an adapted layer"),
    "model's name to search on": (lambda: SearchSpace.of("digits-vit"), r"`model` \(='digits-vit'\) must be a model"),
    "architecture's name": (
        lambda: meta_model("GPT-2"),
        r"`config` \(='GPT-2'\) must be a configuration of transformers",
    ),
    "task to evaluate on": (lambda: evaluate(MODEL, TASK), r"`part` \(='Task'\) must be a part of a task: task\.train"),
    "task to read": (lambda: read(MODEL, TASK, TASK), r"`part` \(='Task'\) must be a part of a task"),
    "task to predict": (lambda: predict(MODEL, TASK), r"`images` \(='Task'\) must be a part of a task, or"),
    "array to predict": (lambda: predict(MODEL, np.zeros((1, 1, 8, 8))), r"`images` \(='ndarray'\) must be a part"),
    "matrix to reach": (
        lambda: rank_reach([np.eye(8)], r=2, ks=(1,)),
        r"`change` \(='ndarray'\) must be a WeightChange",
    ),
    "matrix to come near": (lambda: best_changes(np.eye(8)), r"`change` \(='ndarray'\) must be a WeightChange"),
    "layer of another kind": (
        lambda: rank_by_k(nn.LayerNorm(4), GraloraConfig()),
        r"`layer` \(='LayerNorm'\) must be a l",
    ),
    "task without parts": (
        lambda: Task("t", "", "", TASK.train, "validation", TASK.test, num_classes=10),  # type: ignore[arg-type]
        r"`validation` \(='validation'\) must be a Part",
    ),
    "array in a part": (
        lambda: Part({"pixel_values": np.zeros((1, 8, 8))}),  # type: ignore[dict-item]
        r"`inputs\['pixel_values'\]` \(='ndarray'\) must be a tensor",
    ),
    "name among models": (
        lambda: Race({"one": MODEL, "two": "digits-vit"}, TASK, steps=1, lr=0.1, seed=0),  # type: ignore[dict-item]
        r"`models\['two'\]` \(='digits-vit'\) must be a model",
    ),
    "byte that is none": (lambda: decode([300]), r"`ids` \(=\[300\]\) must be numbers of bytes, integers from 0 to 25"),
    "part of text as images": (
        lambda: predict(MODEL, load_task("text").test),
        r"`images` \(=\['input_ids', 'labels'\]\) must have `pixel_values`",
    ),
    "option that is none": (
        lambda: SearchSpace.of(MODEL).params((0, 0, 0, 0, 0, -1)),
        r"`choice` \(=\(0, 0, 0, 0, 0, -1\)\) must be numbers of options, one for each of the 6 slots",
    ),
    "record among others": (
        lambda: plot_training([Step(1, 2.5, 0.2, 0.1), 2.0]),  # type: ignore[list-item]
        r"`steps` \(='list of Step, float'\) must be a list of Step records or a dict from a name to a list of Step",
    ),
    "name of a record": (
        lambda: plot_predictions({"before": "digits"}),  # type: ignore[dict-item]
        r"`predictions` \(=\{'before': 'digits'\}\) must be a Predictions or a dict from a name to a Predictions",
    ),
    "path that is none": (lambda: equation({"Z": "lora"}), r"`modes` \(='Z'\) must be one of 'A', 'B', 'C', 'D', 'E'"),
    "mode that is none": (lambda: equation({"A": "full"}), r"`modes\['A'\]` \(='full'\) must be one of 'lora', 'vect"),
    "method that is drawn otherwise": (
        lambda: low_rank_equation("DoRA", r=8, scaling=2.0),
        r"`method` \(='DoRA'\) must be one of 'LoRA', 'GraLoRA'",
    ),
    "argument that the model has not": (
        lambda: outliers(MODEL, {"zz": 3}),
        r"`batch` \(of zz\) must be what the model takes: ",
    ),
    "text as a batch": (
        lambda: descent(nn.Linear(4, 4), ("zz", "zz"), lr=0.1, steps=1),
        r"`batch` \(a tuple\) must be what the model takes: ",
    ),
    "race of nobody": (lambda: describe_race({}), r"`budgets` \(=\[\]\) must be two budgets or more, by name"),
    "another method": (lambda: rank_by_k(nn.Linear(4, 4), GloraConfig()), r"`config` \(='GloraConfig'\) must be a Gra"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_of_another_kind_is_refused_in_words(what: str) -> None:
    call, words = WRONG[what]
    with pytest.raises(ValueError, match=words):
        call()


def test_a_figure_keeps_its_signature_and_its_words() -> None:
    assert list(inspect.signature(plot_training).parameters) == ["steps", "total", "about", "examples"]
    assert list(inspect.signature(equation).parameters) == ["modes", "inert", "form"]
    assert str(inspect.getdoc(equation)).startswith("W_eff = W0")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`path` \(='.*nowhere'\) must be a folder that `save_pretrained` wrote"):
        load_adapter(load_model("digits-vit"), tmp_path / "nowhere")
