"""Computation → records: what an adapter is, costs and does, as plain numbers."""

from .activity import path_activity
from .blocks import block_grid
from .budget import path_budget
from .cost import cost_report
from .entanglement import gradient_report
from .paths import path_picture

__all__ = ["block_grid", "cost_report", "gradient_report", "path_activity", "path_budget", "path_picture"]
