"""Computation → records: what an adapter is, costs and does, as plain numbers."""

from .activity import path_activity
from .blocks import block_grid
from .budget import path_budget
from .descent import descent, stable_step
from .entanglement import gradient_report, sensible_limit
from .paths import path_picture

__all__ = [
    "block_grid",
    "descent",
    "gradient_report",
    "path_activity",
    "path_budget",
    "path_picture",
    "sensible_limit",
    "stable_step",
]
