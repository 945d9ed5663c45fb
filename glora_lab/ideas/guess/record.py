"""A question with the guess that was made and the answer, as far as they are known."""

from __future__ import annotations

import math
from dataclasses import dataclass

from glora_lab.record import Record


@dataclass(frozen=True, eq=False)
class Guessed(Record):
    """A question with the guess that was made and the answer, as far as they are known: a number `between` two others,
    one of the `options`, or, with neither, a text.

    Attributes:
        question: what is asked.
        between: the ends of the axis of a number; None for another kind of question.
        options: what there is to choose from; empty for another kind.
        log: whether the axis is logarithmic; both ends are above 0 then.
        unit: what the number counts, "digits", or "%".
        value: the guess; None while nobody has guessed.
        waived: whether the reader asked for the answer without a guess.
        answer: what is so; None where it is not known.
    """

    question: str
    between: tuple[float, float] | None = None
    options: tuple[str, ...] = ()
    log: bool = False
    unit: str = ""
    value: float | str | None = None
    waived: bool = False
    answer: float | str | None = None

    @property
    def decided(self) -> bool:
        """Whether the answer may be shown."""
        return self.waived or self.value is not None

    def place(self, number: float) -> float:
        """Where a number stands on the axis, from 0 at its left end to 1; one beyond an end stands at that end."""
        assert self.between is not None, "a question without an axis"
        low, high = self.between
        if self.log:
            low, high, number = math.log(low), math.log(high), math.log(max(number, low))
        return min(1.0, max(0.0, (number - low) / (high - low)))
