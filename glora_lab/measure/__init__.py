"""Computation → records: what an adapter is, costs and does, as plain numbers."""

from .activity import path_activity
from .blocks import block_grid
from .budget import path_budget
from .entanglement import gradient_report
from .paths import path_picture
from .spectrum import delta_spectrum
from .xray import xray

__all__ = [
    "block_grid",
    "delta_spectrum",
    "gradient_report",
    "path_activity",
    "path_budget",
    "path_picture",
    "xray",
]
