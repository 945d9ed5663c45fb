"""A race in words: what each method got for its parameters, and how equal they are."""

from __future__ import annotations

from collections.abc import Mapping

from glora_lab.ideas.budget.record import PathBudget


def describe_race(budgets: Mapping[str, PathBudget]) -> str:
    """ "LoRA, rank 12: 32,256 parameters; …" and, in per cent of the largest, how far apart they are.

    Args:
        budgets: racer → its budget, two or more.
    """
    totals = {name: budget.total for name, budget in budgets.items()}
    each = "; ".join(f"{name}: {total:,} parameters" for name, total in totals.items())
    most, least = max(totals.values()), min(totals.values())
    if most == least:
        return f"{each}. The same number to the last one."
    smallest = min(totals, key=lambda name: totals[name])
    return f"{each}. They are not quite equal: {smallest} has {(most - least) / most:.1%} fewer than the largest."
