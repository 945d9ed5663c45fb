"""Whether an engine's scores can be believed, for this model and this task: asked before a search stands on them."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from glora_lab.ideas.search.record import Agreement

from .space import Choice, SearchSpace

POOL = 20  # settings drawn for each that is taken


def spread_choices(space: SearchSpace, count: int, seed: int, limit: int | None = None) -> list[Choice]:
    """`count` settings by rising size, from the smallest that are met to the largest; fewer where there are no more.

    Drawn uniformly, settings of many layers are all about as large, train to about the same accuracy, and what order
    they have is noise. So each is drawn with a share of its own of slots that are left at their poorest, and a leaning
    of its own to rich or poor options in the others; of many such, sorted by size, every twentieth is taken.
    """
    draw, pool = random.Random(seed), {space.smallest}
    for _ in range(POOL * count):
        choice = _leaning(space, draw)
        if space.fits(choice) and space.params(choice) <= (limit or math.inf):
            pool.add(choice)
    ordered = sorted(pool, key=lambda choice: (space.params(choice), choice))
    count = min(count, len(ordered))
    return [ordered[(2 * place + 1) * len(ordered) // (2 * count)] for place in range(count)]


def _leaning(space: SearchSpace, draw: random.Random) -> Choice:
    rich, leaning = draw.random(), math.exp(draw.uniform(-2, 2))
    taken = []
    for slot in space.slots:
        places = range(len(slot.options))
        if slot.what == "k":  # of which the size does not depend
            taken.append(draw.choice(places))
        else:
            poorest = draw.random() > rich
            taken.append(0 if poorest else draw.choices(places, [leaning**place for place in places])[0])
    return tuple(taken)


def agreement(
    engine: str, space: SearchSpace, choices: Sequence[Choice], trained: Sequence[float], scored: Sequence[float]
) -> Agreement:
    """Kendall's τ-b of an engine's scores, and of the parameter counts, against what real training gave."""
    params = [space.params(choice) for choice in choices]
    return Agreement(
        engine, tuple(trained), tuple(scored), tuple(params), kendall(trained, scored), kendall(trained, params)
    )


def kendall(one: Sequence[float], other: Sequence[float]) -> float:
    """Kendall's τ-b, which allows for ties; nan where one of the two is all alike, as a single entry is."""
    from scipy.stats import kendalltau

    if len(one) < 2:
        return math.nan
    return float(kendalltau(one, other, variant="b").statistic)
