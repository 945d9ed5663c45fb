"""A name where a model is meant, a task where a part is, a matrix where a record is: refused in words."""

from __future__ import annotations

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
    evaluate,
    load_adapter,
    load_model,
    load_task,
    path_budget,
    predict,
    rank_by_k,
    rank_reach,
)
from glora_lab.measure import best_changes
from glora_lab.models import meta_model
from glora_lab.training import read

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
    "another method": (lambda: rank_by_k(nn.Linear(4, 4), GloraConfig()), r"`config` \(='GloraConfig'\) must be a Gra"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_of_another_kind_is_refused_in_words(what: str) -> None:
    call, words = WRONG[what]
    with pytest.raises(ValueError, match=words):
        call()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`path` \(='.*nowhere'\) must be a folder that `save_pretrained` wrote"):
        load_adapter(load_model("digits-vit"), tmp_path / "nowhere")
