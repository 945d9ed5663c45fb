"""What every record is: a frozen dataclass that compares by value and shows itself."""

from __future__ import annotations

import html
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

TABLE_ROWS = 12


@dataclass(frozen=True, eq=False)
class Record:
    """What all records share: equality by value, a table for notebooks, rows for pandas."""

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        pairs = ((getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return all(
            a is b or (np.array_equal(a, b) if isinstance(a, np.ndarray) or isinstance(b, np.ndarray) else a == b)
            for a, b in pairs
        )

    __hash__ = None  # type: ignore[assignment]

    def to_dicts(self) -> list[dict[str, Any]]:
        """The record as rows: one dict per row where it has rows, else one dict of its plain fields."""
        rows = getattr(self, "rows", None)
        if rows is not None:
            return [row for record in rows for row in record.to_dicts()]
        return [{f.name: _plain(getattr(self, f.name)) for f in fields(self)}]

    def _repr_html_(self) -> str:
        rows = self.to_dicts()
        if not rows:
            return f"<p>{html.escape(type(self).__name__)}: empty</p>"
        head = "".join(f"<th>{html.escape(str(name))}</th>" for name in rows[0])
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(str(value))}</td>" for value in row.values()) + "</tr>"
            for row in rows[:TABLE_ROWS]
        )
        more = f"<p>and {len(rows) - TABLE_ROWS} more rows</p>" if len(rows) > TABLE_ROWS else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def _plain(value: Any) -> Any:
    return f"array {value.shape}" if isinstance(value, np.ndarray) else value
