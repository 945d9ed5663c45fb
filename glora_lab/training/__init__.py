"""Training: a generator of steps, the same in a thread, and asking a model what it knows or writes."""

from .evaluate import evaluate, predict
from .loop import OPTIMIZERS, check_task, fit
from .race import Race
from .reading import read
from .session import TrainSession
from .writing import PROMPTS, write

__all__ = ["OPTIMIZERS", "PROMPTS", "Race", "TrainSession", "check_task", "evaluate", "fit", "predict", "read", "write"]
