"""What a model is asked to show what it has learnt: to read some images or texts, or to write.

All models of a panel are asked the same, and their answers stand in one picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, TypeAlias

import torch
from torch import nn

from glora_lab.data import BYTES, TASKS, Part, Task
from glora_lab.drawing.picture import Picture
from glora_lab.training import PROMPTS, predict, write
from glora_lab.training.reading import read

from .figure_predictions import draw_predictions
from .figure_readings import draw_readings
from .figure_writing import draw_writing
from .record import Predictions
from .record_readings import Readings
from .record_writing import Writing

Answer: TypeAlias = Predictions | Writing | Readings
SHOWN = 8  # images, or texts
PROMPTED = 3  # texts of the test part that a model with a tokenizer writes on
WORDS, TOKENS = 4, 16  # of them, and written


class Asking:
    """The question of a task: `asking(model)` is a model's answer, `draw` shows several by name."""

    def __init__(self, base: nn.Module, task: Task) -> None:
        self._about = task.name
        self._of: Callable[[nn.Module], Answer]
        if task.writes and task.tokenizer is not None:
            prompts, length = _prompts(task), _room(base)
            self._of = lambda model: write(model, prompts, length=length, tokenizer=task.tokenizer)
        elif task.writes and getattr(getattr(base, "config", None), "vocab_size", None) == BYTES:
            self._of = lambda model: write(model, PROMPTS)
        else:
            part = _some_of_each(task.test)
            images = task.kind == "images"
            self._of = lambda m: predict(m, part, classes=task.classes) if images else read(m, task, part)

    def __call__(self, model: nn.Module) -> Answer:
        return self._of(model)

    def draw(self, answers: Mapping[str, Any]) -> Picture:
        first = next(iter(answers.values()))
        if isinstance(first, Writing):
            return draw_writing(answers, capitals=self._about in TASKS)
        return draw_readings(answers) if isinstance(first, Readings) else draw_predictions(answers)


def _some_of_each(part: Part) -> Part:
    """The first example of each label, and where that are few the first of the others."""
    labels = part.labels.tolist() if part.labels.ndim == 1 else list(range(len(part)))
    firsts = [labels.index(label) for label in sorted(set(labels))]
    others = [n for n in range(len(labels)) if n not in set(firsts)]
    return Part(part.rows(torch.tensor([*firsts, *others][:SHOWN])))


def _prompts(task: Task) -> list[str]:
    """The first words of texts that the model is not trained on."""
    ids = task.test.inputs["input_ids"]
    few = max(1, min(WORDS, ids.shape[1] // 2))
    begun = (task.tokenizer.decode(row[:few], skip_special_tokens=True) for row in ids)
    return list(islice(dict.fromkeys(prompt for prompt in begun if prompt), PROMPTED)) or ["The"]


def _room(base: nn.Module) -> int:
    """Tokens that may follow a prompt."""
    longest = getattr(getattr(base, "config", None), "max_position_embeddings", None) or 2 * WORDS + TOKENS
    return max(1, min(TOKENS, longest - 2 * WORDS))
