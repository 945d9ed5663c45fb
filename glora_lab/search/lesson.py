"""A search that takes longer than a lesson, and how it was made: `python -m glora_lab.search.lesson [--out FILE]`.

GLoRA's five paths and a rank for each kind of layer of `digits-vit`, on turned digits; and how the engines with shared
weights order settings of ranks alone. It takes some fifteen minutes on one thread. What is stored are texts and
numbers; the configurations are made anew from the space when it is read.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from statistics import fmean
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from glora_lab.data import Task, load_task
from glora_lab.folders import folder_named
from glora_lab.ideas.search.record import Agreement
from glora_lab.ideas.search.record_stored import StoredSearch
from glora_lab.models import load_model

from .engines import Adapted, Engine, Inherited, Paper, Trained, trained
from .gate import agreement, spread_choices
from .score import score
from .space import SearchSpace
from .study import Study, search_paths

MODEL, TASK = "digits-vit", "digits-turned"
SPACE: Mapping[str, Any] = MappingProxyType({"modes": "all", "per": "kind"})
SEARCH: Mapping[str, Any] = MappingProxyType(
    {"limit": 20_000, "trials": 240, "engine": "adapted", "sampler": "nsga2", "steps": 100, "lr": 5e-3, "seed": 0}
)
SEEDS, SETTINGS = 3, 24
SHARED_WEIGHTS: tuple[type[Engine], ...] = (Paper, Inherited, Adapted)
FILE = "lesson_digits_turned.json"


def stored_space() -> SearchSpace:
    """The space of the stored search, GLoRA's five paths and a rank for each kind of layer of digits-vit:
    `stored_space().path_map(space.read(trial.choice))`.
    """
    return SearchSpace.of(load_model(MODEL), **SPACE)


def stored_search() -> StoredSearch:
    """The search of the lesson, run before and stored, with the configuration of each trial: 240 trials on digits-vit
    and turned digits.
    """
    kept = StoredSearch.from_json((resources.files("glora_lab.search") / FILE).read_text(encoding="utf-8"))
    space = stored_space()
    trials = tuple(replace(trial, config=space.config(space.read(trial.choice))) for trial in kept.result.trials)
    return replace(kept, result=replace(kept.result, trials=trials))


def store(study: Study, made: Mapping[str, Any], agreements: Sequence[Agreement] = ()) -> StoredSearch:
    """What a study has come to, once its finalists are trained anew."""
    importance = study.importance("accuracy")
    return StoredSearch(
        study.result, importance, study.optimism, study.engine, study.said, dict(made), tuple(agreements)
    )


def judged(model: nn.Module, task: Task, settings: int = SETTINGS, seeds: int = SEEDS) -> Iterator[Agreement]:
    """How each engine with shared weights orders settings of ranks, against the mean of `seeds` trainings for real."""
    space = SearchSpace.of(model)
    choices = spread_choices(space, settings, seed=0)
    numbers: Any = {name: SEARCH[name] for name in ("seed", "lr", "steps")}
    real = Trained(model, task, space, **numbers)
    reached = [_mean(score(trained(space, c, real, s), task.validation).metric for s in range(seeds)) for c in choices]
    for kind in SHARED_WEIGHTS:
        engine = kind(model, task, space, **numbers)
        for _ in engine.prepare():
            pass
        yield agreement(engine.name, space, choices, reached, [engine.score(choice).metric for choice in choices])


def _mean(metrics: Iterable[float]) -> float:
    """Equal means tie, whatever the last digits of their sums are."""
    return round(fmean(metrics), 9)


def _versions() -> Iterator[tuple[str, str]]:
    import optuna
    import peft
    import transformers

    for module in (torch, transformers, peft, optuna):
        yield module.__name__, str(module.__version__)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m glora_lab.search.lesson", description=__doc__)
    parser.add_argument("--out", default=Path(__file__).parent / FILE, help="where to write it (default: %(default)s)")
    out = Path(folder_named("out", parser.parse_args(arguments).out))
    torch.set_num_threads(1)
    model, task = load_model(MODEL), load_task(TASK)
    study = search_paths(model, task, stored_space(), **SEARCH)
    for trial in study:
        print(f"trial {trial.number}: {trial.params:,} parameters, {trial.metric:.3f}", flush=True)
    for one in study.verify(SEEDS):
        print(f"{one.params:,} parameters: {one.in_words}", flush=True)
    agreements = tuple(judged(model, task))
    for judgement in agreements:
        print(judgement.in_words, flush=True)
    made = {"model": MODEL, "task": TASK, "space": dict(SPACE), "search": dict(SEARCH), "versions": dict(_versions())}
    out.write_text(store(study, made, agreements).to_json(), encoding="utf-8")
    print(f"{out}: {len(study.trials)} trials, by {study.engine}. {study.said}")


if __name__ == "__main__":
    main()
