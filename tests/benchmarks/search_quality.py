"""Whether a search is worth its time: `python tests/benchmarks/search_quality.py [--json FILE]`.

Three questions. Do an engine's scores order settings better than their parameter counts do? 24 settings, from small to
large, are trained for real with three seeds, and Kendall's τ-b is taken against their mean accuracy on the test part,
and against each seed's, whose spread is behind the ±; once of the ranks of each kind of layer, once of GLoRA's paths in
each layer. As many settings looked at by NSGA-II, at random and by TPE: are what they find, trained anew, better than
LoRA of as many parameters? A win or a loss is a difference beyond two standard errors, from LoRA of no fewer or no more
parameters. And how long is a whole search, its gate with it? These two are of ranks.

Engines and gate see the validation part alone. What has been measured is in the JSON file, which a second call reads:
so it may be done in pieces, and one that was stopped goes on. Seconds are of this process on the processor, one thread.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from glora_lab.data import Task, load_task
from glora_lab.ideas.search.record import Verified
from glora_lab.models import load_model
from glora_lab.search import SearchSpace, search_paths
from glora_lab.search.engines import ENGINES, Adapted, Engine, Inherited, Paper, Trained, trained
from glora_lab.search.gate import kendall, spread_choices
from glora_lab.search.score import score
from glora_lab.search.space import Choice

MODELS = {"digits-turned": ("digits-vit", 100), "text-capitals": ("bytes-llama", 30)}  # task → model, steps
PIECES = ("ranks", "paths", "whole", "fronts")
SAMPLERS = ("nsga2", "random", "tpe")
LR, SETTINGS_SEED = 5e-3, 0


class Kept:
    """What has been measured, by name: in the file as soon as it is there, and not measured again."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self.held: dict[str, Any] = json.loads(file.read_text()) if file and file.exists() else {}

    def __call__(self, name: str, measure: Callable[[], Any]) -> Any:
        if name not in self.held:
            self.held[name] = measure()
            if self._file:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                beside = self._file.with_suffix(".new")
                beside.write_text(json.dumps(self.held, indent=1))
                beside.replace(self._file)
        return self.held[name]


@dataclass
class Bench:
    """One task, its model and its space. `size` is how many settings, seeds and trials there are."""

    task: Task
    model: nn.Module
    steps: int
    kept: Kept
    settings: int
    seeds: int
    trials: int

    def __post_init__(self) -> None:
        self.space = SearchSpace.of(self.model)

    def ranks(self) -> None:
        self._agreement("ranks of each kind of layer", self.space)

    def paths(self) -> None:
        self._agreement("paths of each layer", SearchSpace.of(self.model, modes="all", per="layer"))

    def engine(self, kind: type[Engine], space: SearchSpace, steps: int = 0) -> Engine:
        return kind(self.model, self.task, space, seed=0, lr=LR, steps=steps or self.steps)

    def real(self, space: SearchSpace, choice: Choice, seed: int) -> dict[str, float]:
        """A setting trained for real: accuracies on both parts."""

        def measure() -> dict[str, float]:
            model = trained(space, choice, self.engine(Trained, space), seed)
            return {
                "validation": score(model, self.task.validation).metric,
                "test": score(model, self.task.test).metric,
            }

        name = f"{self.task.name}/trained/{self.steps}/{space.method.name}/{space.written(choice)}/{seed}"
        return self.kept(f"{name}/{space.method.ranks}", measure)

    def _agreement(self, what: str, space: SearchSpace) -> None:
        choices = spread_choices(space, self.settings, SETTINGS_SEED)
        by_seed = [[self.real(space, choice, seed)["test"] for choice in choices] for seed in range(self.seeds)]
        by_choice = list(zip(*by_seed, strict=True))
        mean, spread = list(map(statistics.mean, by_choice)), statistics.mean(map(statistics.stdev, by_choice))
        params = [space.params(choice) for choice in choices]
        print(f"\n{what}: {len(mean)} settings of {params[0]:,} to {params[-1]:,} parameters, {self.steps} steps")
        print(f"test accuracy {min(mean):.3f} to {max(mean):.3f}, deviation over {self.seeds} seeds {spread:.3f}")
        ceiling = kendall(by_seed[0], list(map(statistics.mean, zip(*by_seed[1:], strict=True))))
        print(f"{'':26} {'τ':>5} {'±':>5} {'of equals':>9} {'seconds':>8}")
        print(f"{'training, another seed':26} {ceiling:5.2f}")
        for name, scored, seconds in self._scored(what, space, choices):
            deviation = statistics.stdev(kendall(of, scored) for of in by_seed)
            equals = of_equals(params, mean, scored)
            print(f"{name:26} {kendall(mean, scored):5.2f} {deviation:5.2f} {equals:9.2f} {seconds:8.1f}")

    def _scored(self, what: str, space: SearchSpace, choices: list[Choice]) -> Iterator[tuple[str, list[float], float]]:
        """How settings are scored, the scores, and the seconds that it takes, with those of preparing."""
        yield "parameter count", [float(space.params(choice)) for choice in choices], 0.0
        quarter = max(1, self.steps // 4)
        kinds: dict[str, tuple[type[Engine], int]] = {kind.name: (kind, 0) for kind in (Inherited, Adapted, Paper)}
        for name, (kind, steps) in {**kinds, f"short, {quarter} steps": (Trained, quarter)}.items():
            engine = self.engine(kind, space, steps)
            place = f"{self.task.name}/{what}/{self.settings}/{name}"
            metrics, losses, seconds = self.kept(place, lambda e=engine: scores(e, choices))
            yield name, metrics, seconds
            yield f"{name}, by loss", [-loss for loss in losses], seconds

    def fronts(self) -> None:
        engine = self._searched("nsga2")["engine"]
        print(f"\n{self.trials} settings looked at by each, with engine {engine}; the finalists and LoRA trained anew")
        for sampler in SAMPLERS:
            for written in self._searched(sampler, engine)["finalists"]:
                print(f"{sampler:7} {self._verified(written)}")

    def _searched(self, sampler: str, engine: str = "") -> dict[str, Any]:
        """A search by that engine; by NSGA-II it is a whole one, whose gate says which engine it is."""
        whole: dict[str, Any] = {"sampler": sampler, "trials": self.trials, "steps": self.steps, "lr": LR}
        given = whole if sampler == "nsga2" else {**whole, "engine": engine, "gate": 0}

        def measure() -> dict[str, Any]:
            started = time.process_time()
            study = search_paths(self.model, self.task, self.space, **given)
            list(study)
            gate, finalists = study.agreement, [trial.choice for trial in study.finalists]
            seconds = time.process_time() - started
            said = {"in_words": gate.in_words, **asdict(gate)} if gate else {}
            return {"engine": study.engine, "seconds": seconds, "agreement": said, "finalists": finalists}

        return self.kept(f"{self.task.name}/searched/{self.trials}/{self.steps}/{sampler}", measure)

    def _verified(self, written: str) -> str:
        """A finalist beside LoRA of the next rank below and above; a loss is to the one below, a win over the other."""
        choice = self.space.read(written)
        params, one = self.space.params(choice), sum(s.in_features + s.out_features for s in self.space.layers)
        ours = [self.real(self.space, choice, seed) for seed in range(self.seeds)]
        tests = [run["test"] for run in ours]
        says, verdict = "", "no better than LoRA" if params >= one else "no LoRA is so small"
        for rank in sorted({params // one, -(-params // one)} - {0}):
            lora = SearchSpace.of(self.model, "lora", ranks=(rank,))
            of_lora = [self.real(lora, lora.largest, seed)["test"] for seed in range(self.seeds)]
            validation = tuple(run["validation"] for run in ours)
            found = Verified(0, params, rank * one, tuple(tests), tuple(of_lora), validation)
            beyond = abs(found.difference) > 2 * found.standard_error
            if beyond and found.difference > 0 and rank * one >= params:
                verdict = "a win"
            if beyond and found.difference < 0 and rank * one <= params:
                verdict = "a loss"
            difference = f"{found.difference:+.3f} ± {found.standard_error:.3f}"
            says += f", LoRA of {rank * one:,} {statistics.mean(of_lora):.3f} ({difference})"
        return f"{params:7,} parameters {statistics.mean(tests):.3f} ± {statistics.stdev(tests):.3f}{says}: {verdict}"

    def whole(self) -> None:
        found = self._searched("nsga2")
        print(f"\na search of {self.trials} trials with its gate: {found['seconds']:.0f} s, by {found['engine']}")
        print(f"its gate: {found['agreement']['in_words']}")


def scores(engine: Engine, choices: list[Choice]) -> tuple[list[float], list[float], float]:
    """Accuracies and losses of all, and the seconds."""
    started = time.process_time()
    for _ in engine.prepare():
        pass
    metrics, losses = zip(*(engine.score(choice) for choice in choices), strict=True)
    return list(metrics), list(losses), time.process_time() - started


def of_equals(params: list[int], trained_: list[float], scored: list[float]) -> float:
    """Of pairs of settings whose sizes are within a factor of 1.5: how many more are ordered as training does than not.

    From -1 to 1, as τ is. Counting parameters, which is what an engine must beat, knows least about these.
    """
    pairs = [(i, j) for j in range(len(params)) for i in range(j) if params[j] <= 1.5 * params[i]]
    signs = [(trained_[j] - trained_[i]) * (scored[j] - scored[i]) for i, j in pairs]
    return sum((sign > 0) - (sign < 0) for sign in signs) / len(pairs) if pairs else math.nan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--pieces", nargs="+", default=list(PIECES), choices=list(PIECES))
    parser.add_argument("--settings", type=int, default=24)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--quick", action="store_true", help="few settings, seeds, trials and steps: does it run?")
    parser.add_argument("--json", type=Path, help="where what was measured is kept, and read from")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", FutureWarning)
    if given.quick:
        Inherited.first, Inherited.then, Paper.then = 4, 8, 12
    kept, size = Kept(given.json), (6, 2, 8) if given.quick else (given.settings, given.seeds, given.trials)
    kept("machine", lambda: {"processor": platform.processor() or platform.machine(), "torch": torch.__version__})
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    for name in given.tasks:
        model, steps = MODELS[name]
        print(f"\n{name}, {model}")
        bench = Bench(load_task(name), load_model(model), steps // 10 if given.quick else steps, kept, *size)
        for piece in given.pieces:
            getattr(bench, piece)()
    assert set(ENGINES) == {"inherited", "adapted", "short", "paper"}, "an engine that is not measured here"


if __name__ == "__main__":
    main()
