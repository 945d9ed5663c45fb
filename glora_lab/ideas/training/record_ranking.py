"""Who is ahead, by one measure: the share of the validation part that is right. The test part ranks nobody.

Decision: a difference counts from two binomial standard errors of the best share on. Two successes and two failures
are added to it (Agresti and Coull), without which a share of 100% would have no error at all. It is a rule of thumb:
runs that answer the same examples differ by less, and several seeds of each say more than any rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

from glora_lab.record import Record


@dataclass(frozen=True, eq=False)
class Ranking(Record):
    """Who is ahead among some runs, and by how much that would have to be to count.

    Attributes:
        scores: name → share of the validation part that is right, 0 to 1.
        examples: how many the validation part has; 0 where nobody counted.
    """

    scores: Mapping[str, float]
    examples: int = 0

    @property
    def best(self) -> float:
        """The largest share; 0 where there is none."""
        return max(self.scores.values(), default=0.0)

    @property
    def margin(self) -> float:
        """How far behind the best still ties, two standard errors. Without a count, what a whole per cent hides."""
        n = self.examples + 4
        share = (self.best * self.examples + 2) / n
        return 2 * sqrt(share * (1 - share) / n) if self.examples else 0.005

    @property
    def leaders(self) -> list[str]:
        """Who ties with the best, itself among them, the best first."""
        ahead = [name for name, score in self.scores.items() if score >= self.best - self.margin]
        return sorted(ahead, key=lambda name: -self.scores[name])

    @property
    def words(self) -> str:
        """The finding, and the rule that it follows from. Empty without two to compare."""
        if len(self.scores) < 2:
            return ""
        first, *others = self.leaders
        rule = f"{100 * self.margin:.1f} points, two standard errors of {self.examples:,} examples"
        if not others:
            return f"{first} leads with {self.best:.1%} of the validation part; nobody else is within {rule}."
        with_it = others[0] if len(others) == 1 else f"{len(others)} others"
        return f"{first} and {with_it} tie with up to {self.best:.1%} of the validation part: they are within {rule}."
