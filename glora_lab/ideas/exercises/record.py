"""What a check says to an answer."""

from __future__ import annotations

import html
from dataclasses import dataclass

from glora_lab.record import Record


@dataclass(frozen=True, eq=False)
class Verdict(Record):
    """Right or not, and a sentence. Its truth value is `right`.

    Attributes:
        right: whether the answer is right.
        message: why it is right, or what is wrong, with a hint.
        answered: False where there was no answer yet.
    """

    right: bool
    message: str
    answered: bool = True

    def __bool__(self) -> bool:
        return self.right

    def __str__(self) -> str:
        return f"{self._heading} {self.message}"

    @property
    def _heading(self) -> str:
        if not self.answered:
            return "No answer yet."
        return "Right." if self.right else "Not yet."

    def _repr_html_(self) -> str:
        color = "#0E8A9C" if self.right else "#DB4A2B" if self.answered else "#808080"
        look = f"margin:4px 0;padding:4px 10px;border-left:4px solid {color};line-height:1.5"
        return f'<p role="status" style="{look}"><b>{self._heading}</b> {html.escape(self.message)}</p>'
