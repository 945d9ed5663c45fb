"""Computation → records: what an adapter is, costs and does, as plain numbers."""

from .activity import path_activity
from .budget import path_budget
from .paths import path_picture

__all__ = ["path_activity", "path_budget", "path_picture"]
