"""What a model says about examples that are no images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from glora_lab.record import Record

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True, eq=False)
class Readings(Record):
    """What a model says about examples in words.

    Attributes:
        examples: the examples, as text.
        labels: of each as it is called; of a text that is to be written on, the token that follows.
        said: the model's answer to each, as it is called.
        confidence: probability of its own answer, 0 to 1, (n,).
    """

    examples: tuple[str, ...]
    labels: tuple[str, ...]
    said: tuple[str, ...]
    confidence: Float[np.ndarray, " n"]

    @property
    def right(self) -> int:
        """How many answers are the label."""
        return sum(label == said for label, said in zip(self.labels, self.said, strict=True))

    def to_dicts(self) -> list[dict[str, Any]]:
        columns = self.examples, self.labels, self.said, self.confidence.tolist()
        names = "example", "label", "said", "confidence"
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
