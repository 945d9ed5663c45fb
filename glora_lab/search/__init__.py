"""Choosing paths and ranks layer by layer: a space of settings, engines that score one, a study that looks."""

from .space import SearchSpace
from .study import Study, search_paths

__all__ = ["SearchSpace", "Study", "search_paths"]
