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
    """Examples in words, the label of each and the model's answer as they are called, and how sure it was of that:
    `confidence`, from 0 to 1. Of a text that is to be written on, the label is the token that follows."""

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
