"""What became of a setting: trained anew beside LoRA of as many parameters, and held against the test part."""

from __future__ import annotations

from torch import nn

from glora_lab.ideas.search.record import Trial, Verified

from .engines import Engine, trained
from .score import score
from .space import Choice, SearchSpace


def trained_anew(how: Engine, trial: Trial, seeds: int) -> Verified:
    """Train the setting of a trial, and LoRA, with each of `seeds` seeds and the engine's numbers."""
    choice = how.space.read(trial.choice)
    lora = _lora_space(how.model, how.space, trial.params)
    test, validation, of_lora = [], [], []
    for seed in range(seeds):
        model = trained(how.space, choice, how, seed)
        test.append(score(model, how.task.test).metric)
        validation.append(score(model, how.task.validation).metric)
        of_lora.append(score(trained(*lora, how, seed), how.task.test).metric)
    lora_params = lora[0].params(lora[1])
    return Verified(trial.number, trial.params, lora_params, tuple(test), tuple(of_lora), tuple(validation))


def _lora_space(model: nn.Module, space: SearchSpace, params: int) -> tuple[SearchSpace, Choice]:
    """LoRA on the same layers with the largest rank that has no more parameters, or rank 1 where that has more."""
    one = sum(site.in_features + site.out_features for site in space.layers)
    rank = max(1, params // one)
    lora = SearchSpace.of(model, "lora", ranks=(rank,), target_modules=[site.name for site in space.layers])
    return lora, lora.largest
