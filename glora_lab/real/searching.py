"""The searched arm: what `search_paths` finds on minilm for each budget, by training for real and halving.

A search would take longer than all else if it took what the small models are given, so it is a small one: 30 settings
of paths and ranks for each kind of layer, LoRA's ranks and the known methods among them.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from peft import PeftConfig

from glora_lab.search.space import SearchSpace
from glora_lab.search.study import search_paths

from .arms import BUDGETS, HEAD, LAYERS, adapted, trained_params
from .run import real_model, task_of

MODES = {
    "A": ("none", "vector", "lora"),
    "B": ("none", "lora"),
    "C": ("none", "vector"),
    "D": ("none", "vector"),
    "E": ("none", "vector"),
}
RANKS = (4, 8, 16, 32, 64, 128)
SEARCH: dict[str, Any] = {"trials": 30, "engine": "short", "gate": 0, "sampler": "tpe", "lr": 5e-4}


@lru_cache(maxsize=1)
def space() -> SearchSpace:
    return SearchSpace.of(
        real_model(), ranks=RANKS, modes=MODES, per="kind", target_modules=LAYERS, modules_to_save=[HEAD]
    )


def searched(storage: Path, steps: int) -> dict[str, Any]:
    """The best setting within each budget by the validation part, and how many trials there were; goes on with what
    is in the `storage`."""
    limits = {budget: trained_params(adapted(real_model(), "LoRA", budget, 0)) for budget in BUDGETS}
    study = search_paths(
        real_model(), task_of(0), space(), limit=limits[max(BUDGETS)], storage=storage, seed=0, steps=steps, **SEARCH
    )
    for trial in study:
        print(f"search: {trial.params:,} parameters, {trial.metric:.3f} {trial.name}", flush=True)
    best = {budget: study.best(limit) for budget, limit in limits.items()}
    found = {str(budget): {"choice": trial.choice, "name": trial.name} for budget, trial in best.items()}
    return {"found": found, "trials": len(study.trials)}


def found_config(found: dict[str, Any], budget: int) -> PeftConfig:
    """The configuration of what was found for a budget."""
    return space().config(space().read(found[str(budget)]["choice"]))
