"""A question with the guess that was made and the answer, as far as they are known."""

from __future__ import annotations

import math
from dataclasses import dataclass

from glora_lab.record import Record


@dataclass(frozen=True, eq=False)
class Guessed(Record):
    """A number `between` two others, one of the `options`, or, with neither, a text.

    `value` is the guess, `answer` what is so; None where it is not known, or nobody has guessed. `waived`: the reader
    asked for the answer without a guess. On an axis that is `log` both ends are above 0.
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
