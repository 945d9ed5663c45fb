"""Computation → records: what an adapter is, costs and does, as plain numbers."""

from .budget import path_budget
from .paths import path_picture

__all__ = ["path_budget", "path_picture"]
