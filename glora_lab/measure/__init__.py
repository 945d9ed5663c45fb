"""Computation → records: what an adapter is, costs and does, as plain numbers."""

from .activity import path_activity
from .blocks import block_grid
from .budget import path_budget
from .cost import cost_report
from .entanglement import gradient_report
from .paths import path_picture
from .reach import best_change, best_changes, best_error, rank_reach
from .trained import trained_error
from .weight_changes import weight_change, weight_changes

__all__ = [
    "best_change",
    "best_changes",
    "best_error",
    "block_grid",
    "cost_report",
    "gradient_report",
    "path_activity",
    "path_budget",
    "path_picture",
    "rank_reach",
    "trained_error",
    "weight_change",
    "weight_changes",
]
