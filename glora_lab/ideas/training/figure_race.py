"""A race in words: what each method got for its parameters, and how equal they are."""

from __future__ import annotations

from collections.abc import Mapping

from glora_lab.arguments import refuse
from glora_lab.drawing.checked import checked
from glora_lab.ideas.budget.record import EQUAL, PathBudget, apart


@checked
def describe_race(budgets: Mapping[str, PathBudget]) -> str:
    """ "LoRA, rank 12: 32,256 parameters; …", and whether the race is one at equal parameters, which means within 2%.

    Args:
        budgets: racer → its budget, two or more.
    """
    if len(budgets) < 2:
        raise refuse("budgets", list(budgets), "must be two budgets or more, by name")
    return race_in_words({name: budget.total for name, budget in budgets.items()})


def race_in_words(totals: Mapping[str, int]) -> str:
    """The same of numbers of parameters."""
    each = "; ".join(f"{name}: {total:,} parameters" for name, total in totals.items())
    if not (gap := apart(totals.values())):
        return f"{each}. The same number to the last one."
    smallest = min(totals, key=lambda name: totals[name])
    kind = f"Equal within {EQUAL:.0%}" if gap <= EQUAL else "Not at equal parameters"
    return f"{each}. {kind}: {smallest} has {gap:.1%} fewer than the largest."
