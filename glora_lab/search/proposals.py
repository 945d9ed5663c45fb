"""What to look at next: one of Optuna's samplers, over a study of its own that lives in memory.

The sampler wants every number of a choice as a parameter of a trial, which a shared storage would pay for one by one.
So it has its own study, which is told of every trial whoever made it, and a storage keeps one text for each.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from glora_lab.arguments import check_choice, refuse
from glora_lab.extras import needed

from .space import Choice, SearchSpace

if TYPE_CHECKING:
    from .limits import Limits

# objective → its direction
OBJECTIVES: Mapping[str, Literal["maximize", "minimize"]] = MappingProxyType(
    {"accuracy": "maximize", "loss": "minimize", "parameters": "minimize"}
)
WORST = 1e9
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


def distributions_of(space: SearchSpace) -> dict[str, Any]:
    """Name of a slot → the numbers of its options, for Optuna."""
    import optuna

    return {slot.name: optuna.distributions.IntDistribution(0, len(slot.options) - 1) for slot in space.slots}


def values_of(objectives: Sequence[str], *, metric: float, loss: float, params: int) -> list[float]:
    """What came of a choice, by objective; the worst that can be said of what is no number."""
    measured = {"accuracy": metric, "loss": loss, "parameters": params}
    worst = {"maximize": -WORST, "minimize": WORST}
    found = [(float(measured[name]), worst[OBJECTIVES[name]]) for name in objectives]
    return [value if math.isfinite(value) else least for value, least in found]


def check_objectives(objectives: Sequence[str]) -> tuple[str, ...]:
    """
    Raises:
        ValueError: for one that is not known, and for none.
    """
    rule = f"must be one or more of: {', '.join(OBJECTIVES)}"
    if isinstance(objectives, str) or not isinstance(objectives, Sequence) or not objectives:
        raise refuse("objectives", objectives, rule)
    for objective in objectives:
        check_choice("objectives", objective, tuple(OBJECTIVES))
    if len(set(objectives)) != len(objectives):
        raise refuse("objectives", objectives, rule)
    return tuple(objectives)


class Proposals:
    """Proposes choices of `space` within the `limits`, each once.

    Raises:
        ImportError: without Optuna, with what to install.
        ValueError: for an objective or a sampler that is not known.
    """

    def __init__(
        self, space: SearchSpace, *, sampler: str, seed: int, objectives: Sequence[str], limits: Limits
    ) -> None:
        needed("a search", "optuna", extra="search")
        import optuna

        self.space, self.objectives, self.limits = space, check_objectives(objectives), limits
        self._sampler, self._seed = sampler, seed
        with quiet(optuna):
            directions = [OBJECTIVES[name] for name in self.objectives]
            self.study = optuna.create_study(directions=directions, sampler=_sampler(sampler, seed))
        self._distributions = distributions_of(space)
        self._known: set[Choice] = set()
        self._asked: dict[Choice, Any] = {}

    def anchors(self) -> Iterator[tuple[str, Choice]]:
        """Known methods that are in the space and within the limit, each unless it is known already."""
        for name, choice in self.space.anchors().items():
            if choice not in self._known and not self.limits.over(choice):
                self._known.add(choice)
                yield name, choice

    def ask(self) -> Choice | None:
        """A choice that was not proposed before; None where there are no more."""
        for _ in range(MOST_ASKED):
            trial = self.study.ask(self._distributions)
            choice = tuple(trial.params[slot.name] for slot in self.space.slots)
            over = self.limits.over(choice) if self.space.fits(choice) else None
            if over == {} and choice not in self._known:
                self._known.add(choice)
                self._asked[choice] = trial
                return choice
            self._leave(trial, choice, over)
        return None

    def _leave(self, trial: Any, choice: Choice, over: Mapping[str, float] | None) -> None:
        """Of a proposal that is not scored the sampler hears how far it is above the limits."""
        import optuna

        if over:
            self._constrain(trial, over)
            self.study.tell(trial, self.values(choice, 0.0, math.nan))
        else:
            self.study.tell(trial, state=optuna.trial.TrialState.FAIL)

    def _constrain(self, trial: Any, over: Mapping[str, float]) -> None:
        for kind in self.limits.most:
            trial.set_constraint(kind, over.get(kind, 0.0))

    def withdraw(self, choice: Choice, number: int) -> None:
        """Another worker has the choice, and may have drawn the same numbers: from here on they are of this trial."""
        import optuna

        self.study.tell(self._asked.pop(choice), state=optuna.trial.TrialState.FAIL)
        self.draw_as(number)

    def draw_as(self, number: int) -> None:
        """Draw as nobody else does, in a study that has so many trials."""
        from numpy.random import SeedSequence

        self.study.sampler = _sampler(self._sampler, int(SeedSequence([self._seed, number]).generate_state(1)[0]))

    def tell(self, choice: Choice, *, metric: float, loss: float) -> None:
        """What came of a choice, whether it was asked for or not: a sampler learns from all alike."""

        self._known.add(choice)
        trial = self._asked.pop(choice, None) or self._begun(choice)
        self._constrain(trial, {})  # what is scored, here or elsewhere, is within the limits
        self.study.tell(trial, self.values(choice, metric, loss))

    def _begun(self, choice: Choice) -> Any:
        """A trial that the sampler did not propose; a genetic one counts it into the generation that it is at."""
        import optuna

        self.study.enqueue_trial({slot.name: index for slot, index in zip(self.space.slots, choice, strict=True)})
        trial = self.study.ask(self._distributions)
        if isinstance(self.study.sampler, optuna.samplers.BaseGASampler):
            self.study.sampler.get_trial_generation(self.study, self.study.get_trials(deepcopy=False)[trial.number])
        return trial

    def values(self, choice: Choice, metric: float, loss: float) -> list[float]:
        return values_of(self.objectives, metric=metric, loss=loss, params=self.space.params(choice))
