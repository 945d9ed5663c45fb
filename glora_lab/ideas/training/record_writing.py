"""Text that a model has written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from glora_lab.record import Record


@dataclass(frozen=True, eq=False)
class Writing(Record):
    """What a model writes after some prompts.

    Attributes:
        prompts: what it was given.
        texts: what follows each.
    """

    prompts: tuple[str, ...]
    texts: tuple[str, ...]

    @property
    def capitals(self) -> float:
        """The share of capitals among the letters written; 0 where there is no letter."""
        letters = [letter for text in self.texts for letter in text if letter.isalpha()]
        return sum(letter.isupper() for letter in letters) / len(letters) if letters else 0.0

    def to_dicts(self) -> list[dict[str, Any]]:
        return [{"prompt": prompt, "text": text} for prompt, text in zip(self.prompts, self.texts, strict=True)]
