"""What to look at next: one of Optuna's samplers, over a study of its own that lives in memory.

The sampler wants every number of a choice as a parameter of a trial, which a shared storage would pay for one by one.
So it has its own study, which is told of every trial whoever made it, and a storage keeps one text for each.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Literal

from glora_lab.arguments import check_choice, refuse
from glora_lab.extras import needed
from glora_lab.ideas.search.record import Importance

from .space import Choice, SearchSpace

# objective → its direction
OBJECTIVES: Mapping[str, Literal["maximize", "minimize"]] = MappingProxyType(
    {"accuracy": "maximize", "loss": "minimize", "parameters": "minimize"}
)
POPULATION = 24
MOST_ASKED = 200  # proposals in a row that are above the limit, or known already, until any will do


def _sampler(name: str, seed: int) -> Any:
    import optuna

    made: dict[str, Callable[[], Any]] = {
        "nsga2": lambda: optuna.samplers.NSGAIISampler(seed=seed, population_size=POPULATION),
        "tpe": lambda: optuna.samplers.TPESampler(seed=seed, multivariate=True),
        "random": lambda: optuna.samplers.RandomSampler(seed=seed),
    }
    check_choice("sampler", name, tuple(made))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return made[name]()


@contextmanager
def quiet(optuna: Any) -> Iterator[None]:
    """Optuna says in the log that it has made a study; a reader's own level is kept."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)


class Proposals:
    """Proposes choices of `space` with at most `limit` parameters, each once.

    Raises:
        ImportError: without Optuna, with what to install.
        ValueError: for an objective or a sampler that is not known.
    """

    def __init__(
        self, space: SearchSpace, *, sampler: str, seed: int, objectives: Sequence[str], limit: int | None
    ) -> None:
        needed("a search", "optuna", extra="search")
        import optuna

        if isinstance(objectives, str) or not objectives or len(set(objectives)) != len(objectives):
            raise refuse("objectives", objectives, f"must be one or more of: {', '.join(OBJECTIVES)}")
        for objective in objectives:
            check_choice("objectives", objective, tuple(OBJECTIVES))
        self.space, self.objectives, self.limit = space, tuple(objectives), limit
        with quiet(optuna):
            directions = [OBJECTIVES[name] for name in self.objectives]
            self.study = optuna.create_study(directions=directions, sampler=_sampler(sampler, seed))
        self._distributions: dict[str, Any] = {
            slot.name: optuna.distributions.IntDistribution(0, len(slot.options) - 1) for slot in space.slots
        }
        self._known: set[Choice] = set()
        self._asked: dict[Choice, Any] = {}

    def ask(self) -> Choice | None:
        """A choice that was not proposed before; None where there are no more."""
        for _ in range(MOST_ASKED):
            trial = self.study.ask(self._distributions)
            choice = tuple(trial.params[slot.name] for slot in self.space.slots)
            params = self.space.params(choice) if self.space.fits(choice) else 0
            over = float("inf") if not params else params - (self.limit or params)
            if over <= 0 and choice not in self._known:
                self._known.add(choice)
                self._asked[choice] = trial
                return choice
            self._leave(trial, params, over)
        return None

    def _leave(self, trial: Any, params: int, over: float) -> None:
        """Of a proposal that is not scored the sampler hears how far it is above the limit."""
        import optuna

        if 0 < over < float("inf"):
            trial.set_constraint("limit", float(over))
            self.study.tell(trial, self._values({"accuracy": 0.0, "loss": 1e9, "parameters": params}))
        else:
            self.study.tell(trial, state=optuna.trial.TrialState.FAIL)

    def tell(self, choice: Choice, *, metric: float, loss: float) -> None:
        """What came of a choice, whether it was asked for or not."""
        import optuna

        self._known.add(choice)
        measured = {"accuracy": metric, "loss": loss, "parameters": self.space.params(choice)}
        values, trial = self._values(measured), self._asked.pop(choice, None)
        if trial is not None:
            if self.limit is not None:
                trial.set_constraint("limit", 0.0)
            self.study.tell(trial, values)
            return
        params = {slot.name: index for slot, index in zip(self.space.slots, choice, strict=True)}
        over = {} if self.limit is None else {"limit": float(max(0, measured["parameters"] - self.limit))}
        self.study.add_trial(
            optuna.trial.create_trial(values=values, params=params, distributions=self._distributions, constraints=over)
        )

    def importance(self, objective: str) -> Importance:
        """By Optuna's fANOVA over the trials that were scored; those that could not be are left out."""
        import optuna

        check_choice("objective", objective, self.objectives)
        place = self.objectives.index(objective)
        told = self.study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
        scored = [trial for trial in told if all(over <= 0 for over in trial.constraints.values())]
        if len(scored) < 2:
            raise refuse("objective", objective, f"is explained by two trials or more, and there are {len(scored)}")
        with quiet(optuna):
            study = optuna.create_study(directions=self.study.directions)
        study.add_trials(scored)
        fanova = optuna.importance.FanovaImportanceEvaluator(seed=0)
        found = optuna.importance.get_param_importances(
            study, target=lambda trial: trial.values[place], evaluator=fanova
        )
        return Importance(objective, {name: float(share) for name, share in found.items()}, len(scored))

    def _values(self, measured: Mapping[str, float]) -> list[float]:
        return [float(measured[name]) for name in self.objectives]
