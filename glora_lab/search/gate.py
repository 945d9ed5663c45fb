"""Whether an engine's scores can be believed, for this model and this task: asked before a search stands on them."""

from __future__ import annotations

from collections.abc import Sequence

from glora_lab.ideas.search.record import Agreement

from .space import Choice, SearchSpace


def agreement(
    engine: str, space: SearchSpace, choices: Sequence[Choice], trained: Sequence[float], scored: Sequence[float]
) -> Agreement:
    """Kendall's τ-b of an engine's scores, and of the parameter counts, against what real training gave."""
    params = [space.params(choice) for choice in choices]
    return Agreement(
        engine, tuple(trained), tuple(scored), tuple(params), kendall(trained, scored), kendall(trained, params)
    )


def kendall(one: Sequence[float], other: Sequence[float]) -> float:
    """Kendall's τ-b, which allows for ties; nan where one of the two is all alike."""
    from scipy.stats import kendalltau

    return float(kendalltau(one, other, variant="b").statistic)
