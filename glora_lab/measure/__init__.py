"""Computation → records: what an adapter is, costs and does, as plain numbers."""

from .activity import path_activity
from .block_detail import block_detail
from .blocks import block_grid
from .budget import path_budget
from .cost import cost_report
from .descent import descent, stable_step
from .entanglement import gradient_report, sensible_limit
from .equal_budget import rank_for_budget
from .merging import merge_report
from .paths import path_picture
from .rank_by_k import rank_by_k
from .reach import best_change, best_changes, best_error, rank_reach
from .spectrum import delta_spectrum
from .trained import trained_error
from .weight_changes import weight_change, weight_changes
from .xray import xray

__all__ = [
    "best_change",
    "best_changes",
    "best_error",
    "block_detail",
    "block_grid",
    "cost_report",
    "delta_spectrum",
    "descent",
    "gradient_report",
    "merge_report",
    "path_activity",
    "path_budget",
    "path_picture",
    "rank_by_k",
    "rank_for_budget",
    "rank_reach",
    "sensible_limit",
    "stable_step",
    "trained_error",
    "weight_change",
    "weight_changes",
    "xray",
]
