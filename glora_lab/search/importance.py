"""What each choice is worth, by the trials of a search."""

from __future__ import annotations

from collections.abc import Sequence

from glora_lab.arguments import check_choice, refuse
from glora_lab.ideas.search.record import Importance, Trial

from .proposals import distributions_of, quiet, values_of
from .space import SearchSpace


def importance(space: SearchSpace, trials: Sequence[Trial], objective: str, objectives: Sequence[str]) -> Importance:
    """By Optuna's fANOVA over the trials that were scored.

    Raises:
        ValueError: for what is none of the `objectives`, and with fewer than two trials.
    """
    import optuna

    check_choice("objective", objective, tuple(objectives))
    if len(trials) < 2:
        raise refuse("objective", objective, f"is explained by two trials or more, and there are {len(trials)}")
    with quiet(optuna):
        study = optuna.create_study()
    distributions, names = distributions_of(space), [slot.name for slot in space.slots]
    for trial in trials:
        params = dict(zip(names, space.read(trial.choice), strict=True))
        value = values_of((objective,), metric=trial.metric, loss=trial.loss, params=trial.params)[0]
        study.add_trial(optuna.trial.create_trial(value=value, params=params, distributions=distributions))
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return Importance(objective, {name: float(share) for name, share in found.items()}, len(trials))
