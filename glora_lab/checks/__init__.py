"""The last lesson's exercises: `check_…(answer)` says right, or what is wrong, with a hint that gives nothing away.

Decisions. The notebook ships with every answer open (`answer = ...`), which a check takes for "no answer yet": it
runs to its end as it is, and a student who opens it finds no solution beside the question. The solutions are in the
tests (`tests/checks/answers.py`), where a teacher finds them with three wrong answers each: CI puts every one of them
into the notebook's own cell, so that a solution that no longer works, or a wrong answer that passes, is a failed test.
No truth but the names of the last exercise is written down here: each is computed from the layers that train, so it
stays true when they change.
"""

from .counting import check_budget, check_equal_ranks, check_fitting_k, check_inert, check_rank_of_entrywise
from .exercise import errors
from .material import baked_in, gralora_layer, unknown_mix
from .running import check_mixed_names, check_outlier_reach, check_paths_under_limit
from .weights import check_block_delta, check_lora, check_lost_bases, check_repaired_merge

__all__ = [
    "baked_in",
    "check_block_delta",
    "check_budget",
    "check_equal_ranks",
    "check_fitting_k",
    "check_inert",
    "check_lora",
    "check_lost_bases",
    "check_mixed_names",
    "check_outlier_reach",
    "check_paths_under_limit",
    "check_rank_of_entrywise",
    "check_repaired_merge",
    "errors",
    "gralora_layer",
    "unknown_mix",
]
