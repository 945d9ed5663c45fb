"""Who leads, as the title of a picture says it."""

from __future__ import annotations

from glora_lab.drawing.theme import listed, plain

from .record_ranking import Ranking

NAMED = 3  # leaders that a title names; more are counted


def headline(ranking: Ranking) -> str:
    """ "<b>LoRA</b> leads with 85% of the validation part", or who ties with whom."""
    leaders = [f"<b>{plain(name)}</b>" for name in ranking.leaders]
    who = listed(leaders) if len(leaders) <= NAMED else f"{len(leaders)} runs"
    lead = "leads with" if len(leaders) == 1 else "tie with up to" if ranking.examples else "tie with"
    return f"{who} {lead} {ranking.best:.0%} of the validation part"
