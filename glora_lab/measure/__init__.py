"""Computation → records: what an adapter is, costs and does, as plain numbers."""

from .activity import path_activity
from .block_detail import block_detail
from .blocks import block_grid
from .budget import path_budget
from .entanglement import gradient_report
from .paths import path_picture
from .rank_by_k import rank_by_k

__all__ = [
    "block_detail",
    "block_grid",
    "gradient_report",
    "path_activity",
    "path_budget",
    "path_picture",
    "rank_by_k",
]
