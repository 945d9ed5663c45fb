"""Adapter × model family × operation: what PEFT's users do, on every kind of model, either works or is refused.

A cell is an operation's function with one case. The outcome is written to the table at the end of the run (table.py):
`ok`, `no` for one that has to be refused, with the words that it has to say, or `–` where a family has no such thing,
with the reason. Stock LoRA's column is in test_stock.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from . import around, disk, living, weights
from .case import CONFIGS, OURS, Case, NotHere, known_warnings
from .families import FAMILIES, Family
from .table import CELL

OPERATIONS: list[Callable[[Case], None]] = [
    living.a_training_step,
    living.default_targets,
    living.all_linear_layers,
    living.an_embedding,
    living.several_adapters,
    living.a_name_that_is_taken,
    living.disabled_adapters,
    living.deleting,
    living.deleting_the_last_one,
    living.a_batch_of_several_adapters,
    living.generating,
    living.the_status_of_a_model,
    living.injected_into_a_model,
    weights.merging_and_unmerging,
    weights.safe_merging_of_a_broken_adapter,
    weights.merge_and_unload,
    weights.unload,
    weights.the_delta_weight,
    weights.a_weighted_sum,
    weights.a_scale,
    weights.a_hot_swap,
    weights.tied_embeddings,
    weights.over_a_lora,
    weights.beneath_a_lora,
    weights.merging_over_the_other_of_ours,
    around.writing_into_the_output,
    around.a_gradient_of_a_gradient,
    around.a_batch_of_gradients,
    around.tracing_in_training,
    around.a_copy_of_data_parallel,
    around.made_under_inference_mode,
    around.merged_under_inference_mode,
    around.a_ragged_batch,
    around.packed_afterwards,
    disk.saving_and_loading,
    disk.a_damaged_file,
    disk.modules_to_save,
    disk.all_biases,
    disk.biases_of_adapted_layers,
    disk.low_cpu_memory,
    disk.the_meta_device,
    disk.exported_as_lora,
    disk.transformers_own_adapters,
    disk.transformers_own_loading,
    disk.transformers_own_hot_swap,
    disk.auto_classes_of_peft,
    disk.auto_classes_of_transformers,
]
# (operation, adapter, family) → the words of its refusal; "*" stands for all
REFUSALS = {
    ("an_embedding", "*", "*"): "matches layers of a type that is not supported: .*Supported are nn.Linear",
    ("a_name_that_is_taken", "*", "*"): "Adapter with name 'default' already exists",
    (
        "safe_merging_of_a_broken_adapter",
        "*",
        "*",
    ): "NaNs detected in the merged weights. The adapter .* seems to be broken in layer ",
    ("merging_over_the_other_of_ours", "*", "*"): "which runs and trains, but cannot be merged: use `merge_and_unload`",
    ("a_damaged_file", "*", "*"): r"is truncated or damaged .*Save the adapter again, or copy it anew",
    ("transformers_own_hot_swap", "*", "*"): "Hotswapping is currently only supported for LoRA",
    ("default_targets", "*", "ViT"): "Please specify `target_modules` in `peft_config`",
    ("all_linear_layers", "GraLoRA", "BERT"): r"`gralora_k` \(=2\) must divide .* does not in classifier",
    ("a_batch_of_several_adapters", "*", "Mixtral"): "does not support mixed adapter batches yet",
    ("a_weighted_sum", "*", "Mixtral"): "does not support targeting nn.Parameter",
    (
        "merging_over_the_other_of_ours",
        "*",
        "Mixtral",
    ): "carries G(ra)?loraParameter already, and is not a valid target",
    ("exported_as_lora", "*", "Mixtral"): "`target_parameters` .* is what neither PEFT's GLORA and GRALORA nor this",
    ("all_linear_layers", "GraLoRA", "ViT"): r"`gralora_k` \(=2\) must divide .* does not in classifier",
}
NOT_HERE = {
    ("generating", "BERT"), ("generating", "ViT"), ("tied_embeddings", "BERT"), ("tied_embeddings", "ViT"),
}  # fmt: skip


def refusal(operation: str, adapter: str, family: str) -> str | None:
    keys = [(operation, adapter, family), (operation, "*", family), (operation, "*", "*")]
    return next((REFUSALS[key] for key in keys if key in REFUSALS), None)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
@pytest.mark.parametrize("adapter", OURS)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
def test_cell(
    operation: Callable[[Case], None],
    adapter: str,
    family: Family,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    name, case = operation.__name__, Case(adapter, family, tmp_path)
    expected, words, outcome = refusal(name, adapter, family.name), "", "ok"
    try:
        with known_warnings():
            operation(case)
    except NotHere as reason:
        outcome, words = "–", str(reason)
    except ValueError as error:
        if expected is None:
            raise
        outcome, words = "no", str(error)
    record_property(CELL, (name, adapter, family.name, outcome, words))
    assert (outcome == "–") == ((name, family.name) in NOT_HERE)
    if expected is not None:
        assert outcome == "no", "this was not refused"
        assert re.search(expected, words, re.DOTALL), words


def test_every_refusal_names_a_cell() -> None:
    names, adapters = {operation.__name__ for operation in OPERATIONS}, {*CONFIGS, "*"}
    families = {*(family.name for family in FAMILIES), "*"}
    for operation, adapter, family in REFUSALS:
        assert operation in names and adapter in adapters and family in families
    assert {name for name, _ in NOT_HERE} <= names and {family for _, family in NOT_HERE} <= families


def test_every_operation_is_in_the_matrix() -> None:
    """None is left out by forgetting its line above."""
    for module in (around, disk, living, weights):
        own = {
            function
            for name, function in vars(module).items()
            if not name.startswith("_") and getattr(function, "__module__", "") == module.__name__ and name != "parts"
        }
        assert own <= set(OPERATIONS), {function.__name__ for function in own - set(OPERATIONS)}
