"""Choosing paths and ranks layer by layer: a space of settings, engines that score one, a study that looks."""

from .lesson import stored_search, stored_space
from .session import SearchSession
from .shared import follow_study
from .space import SearchSpace
from .study import Study, search_paths

__all__ = ["SearchSession", "SearchSpace", "Study", "follow_study", "search_paths", "stored_search", "stored_space"]
