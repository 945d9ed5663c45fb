"""A search that takes longer than a lesson, and how it was made: `python -m glora_lab.search.lesson [--out FILE]`.

GLoRA's five paths and a rank for each kind of layer of `digits-vit`, on turned digits. It takes some five minutes on
one thread. What is stored are texts and numbers; the configurations are made anew from the space when it is read.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from glora_lab.data import load_task
from glora_lab.folders import folder_named
from glora_lab.ideas.search.record_stored import StoredSearch
from glora_lab.models import load_model

from .space import SearchSpace
from .study import Study, search_paths

MODEL, TASK = "digits-vit", "digits-turned"
SPACE: Mapping[str, Any] = MappingProxyType({"modes": "all", "per": "kind"})
SEARCH: Mapping[str, Any] = MappingProxyType(
    {"limit": 20_000, "trials": 240, "engine": "adapted", "sampler": "nsga2", "steps": 100, "lr": 5e-3, "seed": 0}
)
SEEDS = 3
FILE = "lesson_digits_turned.json"


def stored_space() -> SearchSpace:
    """The space of the stored search: `stored_space().path_map(space.read(trial.choice))`."""
    return SearchSpace.of(load_model(MODEL), **SPACE)


def stored_search() -> StoredSearch:
    """The stored search, with the configuration of each trial."""
    kept = StoredSearch.from_json((resources.files("glora_lab.search") / FILE).read_text(encoding="utf-8"))
    space = stored_space()
    trials = tuple(replace(trial, config=space.config(space.read(trial.choice))) for trial in kept.result.trials)
    return replace(kept, result=replace(kept.result, trials=trials))


def store(study: Study, made: Mapping[str, Any]) -> StoredSearch:
    """What a study has come to, once its finalists are trained anew."""
    return StoredSearch(
        study.result, study.importance("accuracy"), study.optimism, study.engine, study.said, dict(made)
    )


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
    study = search_paths(load_model(MODEL), load_task(TASK), stored_space(), **SEARCH)
    for trial in study:
        print(f"trial {trial.number}: {trial.params:,} parameters, {trial.metric:.3f}", flush=True)
    for one in study.verify(SEEDS):
        print(f"{one.params:,} parameters: {one.in_words}", flush=True)
    made = {"model": MODEL, "task": TASK, "space": dict(SPACE), "search": dict(SEARCH), "versions": dict(_versions())}
    out.write_text(store(study, made).to_json(), encoding="utf-8")
    print(f"{out}: {len(study.trials)} trials, by {study.engine}. {study.said}")


if __name__ == "__main__":
    main()
