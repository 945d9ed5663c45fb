"""Which cell of a notebook is running, so that a panel knows the one that it takes the place of."""

from __future__ import annotations

from typing import Any, NamedTuple

from IPython import get_ipython


class Cell(NamedTuple):
    """`which` cell, the same each time that it runs, and which `run` of it."""

    which: str
    run: str

    def replaces(self, other: Cell | None) -> bool:
        """Whether the other is an earlier run of this cell."""
        return other is not None and self.which == other.which and self.run != other.run


def running_cell() -> Cell | None:
    """The cell that asked for what is being done; None where none did, as in a script or an answer to a button.

    A page that does not say which cell it is (Colab's) has the cell known by its text.
    """
    asked: dict[str, Any] = getattr(get_ipython(), "get_parent", dict)() or {}
    code = asked.get("content", {}).get("code")
    if not isinstance(code, str):
        return None
    return Cell(str(asked.get("metadata", {}).get("cellId") or code), str(asked["header"]["msg_id"]))
