"""Training: a generator of steps, the same in a thread, and asking a model what it knows or writes."""

from glora_lab.training.evaluate import evaluate, predict
from glora_lab.training.loop import OPTIMIZERS, fit
from glora_lab.training.race import Race
from glora_lab.training.session import TrainSession
from glora_lab.training.writing import PROMPTS, write

__all__ = ["OPTIMIZERS", "PROMPTS", "Race", "TrainSession", "evaluate", "fit", "predict", "write"]
