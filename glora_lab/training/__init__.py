"""Training: a generator of steps, the same in a thread, and asking a model what it knows."""

from glora_lab.training.evaluate import evaluate, predict
from glora_lab.training.loop import OPTIMIZERS, fit
from glora_lab.training.race import Race
from glora_lab.training.session import TrainSession

__all__ = ["OPTIMIZERS", "Race", "TrainSession", "evaluate", "fit", "predict"]
