"""A search: its trials, how far its scores can be believed, and what became of the finalists."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import variance
from typing import Any

from glora_lab.record import Record

NAN = float("nan")


@dataclass(frozen=True, eq=False)
class Trial(Record):
    """One setting that a search has looked at.

    Attributes:
        number: counted from 0, in the order in which they were begun.
        params: parameters that it trains.
        metric: accuracy on the validation part, 0 to 1, as the engine has it: of shared weights it orders settings and
            is no result.
        loss: validation loss; nan where the engine has none.
        choice: the setting as the space writes it.
        engine: what scored it: "inherited", "adapted", "short" or "paper".
        seconds: how long that took.
        name: the known method that it is, or empty.
        test: accuracy on the test part after training anew, 0 to 1; nan where that has not been done.
        config: what `get_peft_model` takes; None where it is not known.
    """

    number: int
    params: int
    metric: float
    loss: float
    choice: str
    engine: str
    seconds: float
    name: str = ""
    test: float = NAN
    config: Any = field(default=None, repr=False)

    def to_dicts(self) -> list[dict[str, Any]]:
        names = ("number", "params", "metric", "loss", "test", "engine", "name", "choice")
        return [{name: getattr(self, name) for name in names}]


@dataclass(frozen=True, eq=False)
class Agreement(Record):
    """How an engine's scores order settings that were trained for real, beside the bare count of parameters.

    Attributes:
        engine: what scored them.
        trained: accuracy of each setting after real training, 0 to 1.
        scored: the engine's score of each.
        params: trainable parameters of each.
        tau: Kendall's τ-b of `scored` against `trained`, -1 to 1; nan where all are alike.
        tau_params: the same of `params`.
    """

    engine: str
    trained: tuple[float, ...]
    scored: tuple[float, ...]
    params: tuple[int, ...]
    tau: float
    tau_params: float

    @property
    def is_better(self) -> bool:
        """Whether the engine orders better than counting does, and than not at all."""
        return self.tau > max(self.tau_params, 0.0)

    @property
    def in_words(self) -> str:
        """Both τ, on how many settings, and who orders better."""
        says = f"τ {self.tau:.2f} of {self.engine}, {self.tau_params:.2f} of the parameter count"
        over = "the engine orders better" if self.is_better else "counting parameters orders as well or better"
        return f"{says}, on {len(self.trained)} settings trained for real: {over}"

    def to_dicts(self) -> list[dict[str, Any]]:
        rows = zip(self.trained, self.scored, self.params, strict=True)
        return [{"trained": t, "scored": s, "params": p} for t, s, p in rows]


@dataclass(frozen=True, eq=False)
class Verified(Record):
    """One finalist and LoRA of as many parameters, both trained anew with the same seeds.

    Attributes:
        number: the finalist's trial.
        params: parameters that it trains.
        lora_params: what LoRA has, of the largest rank that is not above.
        test: the finalist's accuracy on the test part, 0 to 1, for each seed.
        lora: LoRA's, for each seed.
        validation: the finalist's accuracy on the validation part, for each seed.
    """

    number: int
    params: int
    lora_params: int
    test: tuple[float, ...]
    lora: tuple[float, ...]
    validation: tuple[float, ...]

    @property
    def difference(self) -> float:
        """How much more of the test part it reads than LoRA does, in the mean."""
        return _mean(self.test) - _mean(self.lora)

    @property
    def standard_error(self) -> float:
        """Of the difference, by the spread of each over the seeds; nan of one seed.

        Not by pairs of a seed: adapters of other shapes share no draw but that of the batches, and the spread of two
        or three pairs is small by chance too often.
        """
        seeds = len(self.test)
        if seeds < 2:
            return NAN
        return math.sqrt((variance(self.test) + variance(self.lora)) / seeds)

    @property
    def in_words(self) -> str:
        """Whether it differs from LoRA by more than two standard errors, and by how much."""
        beyond = abs(self.difference) > 2 * self.standard_error
        which = "better than" if self.difference > 0 else "worse than"
        says = f"{which} LoRA" if beyond else "no better than LoRA"
        return f"{says} of {self.lora_params:,} parameters ({self.difference:+.3f} ± {self.standard_error:.3f})"

    def to_dicts(self) -> list[dict[str, Any]]:
        return [
            {"number": self.number, "params": self.params, "seed": seed, "test": test, "lora": lora}
            for seed, (test, lora) in enumerate(zip(self.test, self.lora, strict=True))
        ]


def front(trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """The trials that no other beats, by rising parameters: none has more accuracy at as many or fewer."""
    best, kept = -math.inf, []
    for trial in sorted(trials, key=lambda t: (t.params, -t.metric, t.number)):
        if trial.metric > best:
            best = trial.metric
            kept.append(trial)
    return tuple(kept)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


@dataclass(frozen=True, eq=False)
class SearchResult(Record):
    """A search as it stands.

    Attributes:
        trials: in the order of their numbers.
        limit: the most parameters that were allowed; None for any.
        agreement: what the gate found; None where there was no gate.
        verified: the finalists that have been trained anew.
    """

    trials: tuple[Trial, ...]
    limit: int | None = None
    agreement: Agreement | None = None
    verified: tuple[Verified, ...] = ()

    @property
    def front(self) -> tuple[Trial, ...]:
        """The trials that no other beats, by rising parameters."""
        return front(self.trials)

    def to_dicts(self) -> list[dict[str, Any]]:
        return [row for trial in self.trials for row in trial.to_dicts()]


@dataclass(frozen=True, eq=False)
class PathChoice(Record):
    """One path of one layer in a setting. A method without GLoRA's paths is path B.

    Attributes:
        layer: the layer's name in the model.
        path: "A" to "E".
        mode: "lora", "vector", "constant" or "none"; of a method without GLoRA's paths its name, or "none".
        rank: of a path that has one, else 0.
        params: trainable parameters.
        k: GraLoRA's blocks per side; 0 of another method.
    """

    layer: str
    path: str
    mode: str
    rank: int
    params: int
    k: int = 0


@dataclass(frozen=True, eq=False)
class PathMap(Record):
    """Where the parameters of one setting are; a space's `path_map` makes it.

    Attributes:
        rows: one for each layer of the space and each path.
    """

    rows: tuple[PathChoice, ...]

    @property
    def total(self) -> int:
        """Trainable parameters of the setting."""
        return sum(row.params for row in self.rows)


@dataclass(frozen=True, eq=False)
class Importance(Record):
    """What each choice is worth: the share of an objective's variance over the trials that it explains. Source: fANOVA,
    Hutter et al. 2014, as Optuna computes it.

    Attributes:
        of: the objective.
        shares: name of the slot → share, 0 to 1, the largest first.
        trials: over how many trials.
    """

    of: str
    shares: dict[str, float]
    trials: int

    def to_dicts(self) -> list[dict[str, Any]]:
        return [{"choice": name, "share": share} for name, share in self.shares.items()]
