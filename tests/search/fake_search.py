"""A search whose engine scores by counting, so that a test has hundreds of trials in a second."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from glora_lab import load_model, load_task
from glora_lab.search import SearchSpace, Study, search_paths, study
from glora_lab.search.engines import ENGINES, Engine
from glora_lab.search.score import Score
from glora_lab.search.space import Choice

MODEL, TASK = load_model("digits-vit"), load_task("digits-turned")
SPACE = SearchSpace.of(MODEL, ranks=(1, 2, 4, 8))


class Counting(Engine):
    """More parameters are better, and the loss falls; a score takes `seconds`, and a line in the file `notes`."""

    name = "counting"
    seconds = 0.0
    notes: str = ""

    def score(self, choice: Choice) -> Score:
        if self.notes:
            with open(self.notes, "a", encoding="utf-8") as file:  # a line at once, whoever else writes
                file.write(f"{self.space.written(choice)}\n")
        time.sleep(self.seconds)
        params = self.space.params(choice)
        return Score(params / (params + 10_000), 1 / params)


WITH_COUNTING: Mapping[str, type[Engine]] = {**ENGINES, Counting.name: Counting}


def counted(storage: Any = None, **options: Any) -> Study:
    """Not to be used beside other searches of the process: the name of the engine is known from here on."""
    study.ENGINES = WITH_COUNTING
    settings: dict[str, Any] = {"engine": "counting", "gate": 0, "trials": 20, "space": SPACE, **options}
    return search_paths(MODEL, TASK, storage=storage, **settings)
