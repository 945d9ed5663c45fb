"""Switching a model between training and evaluation."""

from __future__ import annotations

from torch import nn

from glora_lab.models.mode import eval_mode


class TrainMode:
    """Train mode around each step of a run, eval mode in between, at next to no cost.

    `model.train()` walks the whole model and costs 5% of a small model's step, `model.eval()` as much again.
    So the model is asked once which of its modules `train()` switches (a model may keep a frozen
    normalisation in eval mode), and then only their flags are set.
    """

    def __init__(self, model: nn.Module) -> None:
        with eval_mode(model):
            model.train()
            # vars(): nn.Module's own __setattr__ is what makes the walk slow
            self._switched = [vars(module) for module in model.modules() if module.training]

    def __enter__(self) -> None:
        for attributes in self._switched:
            attributes["training"] = True

    def __exit__(self, *_: object) -> None:
        for attributes in self._switched:
            attributes["training"] = False
