"""Stock LoRA's column of the matrix: what PEFT's own adapter makes of the same operations, beside ours.

It is held to the same assertions. Where they do not hold for it, or hold where ours refuse, `ANSWERS` says so in
words; if PEFT 0.21 answers otherwise than it is said here, that fails. An older one's answers are only shown.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from glora_lab.adapters.registry import PEFT_ASKS_THE_TUNER as FROM_0_21

from .case import STOCK, Case, NotHere, known_warnings
from .families import FAMILIES, Family
from .table import CELL
from .test_matrix import OPERATIONS, refusal

OF_OURS = {"over_a_lora", "beneath_a_lora", "merging_over_the_other_of_ours", "exported_as_lora"}
# operation → its mark in the table, and what stock LoRA does: `≠` for something else than ours
ANSWERS = {
    "an_embedding": ("≠", "is taken: LoRA has a layer of its own for embeddings"),
    "merging_and_unmerging": ("≠", "unmerging subtracts, and leaves rounding in the weights"),
    "unload": ("≠", "unmerging subtracts, and leaves rounding in the weights"),
    "tied_embeddings": ("≠", "merging a head changes the embedding that it is tied to"),
    "made_under_inference_mode": ("≠", "nothing trains, and nothing says so"),
    "packed_afterwards": ("≠", "a raw AttributeError"),
    "a_damaged_file": ("≠", "a raw error of safetensors, which does not name the file"),
    "transformers_own_hot_swap": ("ok", "is for LoRA"),
}
# the same where it is another on one family
ON_ONE = {
    ("a_copy_of_data_parallel", "Mixtral"): ("no", "finds no parameter of the experts to put its own in place of"),
    ("a_ragged_batch", "GPT-2"): ("≠", "a raw RuntimeError of its Conv1D"),
    ("default_targets", "Mixtral"): ("no", "has no targets of its own beside an empty list of parameters"),
    ("all_linear_layers", "Mixtral"): ("≠", "takes the router too, and says of its rank that it was ignored"),
    ("safe_merging_of_a_broken_adapter", "Mixtral"): ("≠", "one parameter is merged when the other is found broken"),
}


def expected(operation: str, family: str) -> tuple[str, str]:
    refused = refusal(operation, STOCK, family) is not None and refusal(operation, "*", family) is not None
    return ON_ONE.get((operation, family)) or ANSWERS.get(operation, ("no" if refused else "ok", ""))


def answer(operation: Callable[[Case], None], case: Case) -> tuple[str, str]:
    """The mark of a cell, with the words of a refusal."""
    try:
        with known_warnings():
            operation(case)
    except NotHere as reason:
        return "–", str(reason)
    except ValueError as error:
        return "no", str(error)
    except Exception as error:  # a failed assertion, or whatever is raised to a user's face
        return "≠", f"{type(error).__name__} {error}"
    return "ok", ""


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
def test_cell(
    operation: Callable[[Case], None],
    family: Family,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    name = operation.__name__
    if name in OF_OURS:
        found, words = "–", "is about our adapters"
    else:
        found, words = answer(operation, Case(STOCK, family, tmp_path))
        mark, why = expected(name, family.name)
        assert found in (mark, "–") or not FROM_0_21, f"not {mark!r}, as it is said here, but {found!r}: {words}"
        words = why if found == mark and why else words
    record_property(CELL, (name, STOCK, family.name, found, words))


def test_every_answer_is_that_of_an_operation() -> None:
    named = OF_OURS | ANSWERS.keys() | {operation for operation, _ in ON_ONE}
    assert named <= {operation.__name__ for operation in OPERATIONS}
    assert {family for _, family in ON_ONE} <= {family.name for family in FAMILIES}
