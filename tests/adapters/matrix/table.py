"""The matrix as a table at the end of a run, from what the cells have recorded; with several processes too."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

CELL = "matrix cell"
Cell = tuple[str, str, str, str, str]  # operation, adapter, family, outcome, words


def table(cells: Iterable[Cell]) -> list[str]:
    """Operation by operation, the outcome for each adapter and family; then the words of refusals and reasons."""
    cells = list(cells)
    operations, adapters, families = (list(dict.fromkeys(cell[axis] for cell in cells)) for axis in range(3))
    found = {(operation, adapter, family): outcome for operation, adapter, family, outcome, _ in cells}
    first, width = max(len(name) for name in operations) + 2, max(len(name) for name in families) + 1
    group = width * len(families)
    lines = [" " * first + "".join(f"{adapter:<{group}} " for adapter in adapters).rstrip()]
    lines.append(" " * first + " ".join("".join(f"{f:<{width}}" for f in families) for _ in adapters).rstrip())
    for operation in operations:
        row = " ".join(
            "".join(f"{found.get((operation, adapter, family), ''):<{width}}" for family in families)
            for adapter in adapters
        )
        lines.append(f"{operation.replace('_', ' '):<{first}}{row}".rstrip())
    said: dict[tuple[str, str], list[str]] = {}
    for operation, adapter, family, outcome, words in cells:
        if words:
            said.setdefault((operation, f"{outcome}  {_short(words)}"), []).append(f"{adapter} on {family}")
    marks = "no: refused, in words that a user can act on; ≠: does something else; –: has no meaning there"
    lines += ["", f"{marks}; one example of each:"]
    shown: dict[str, str] = {}
    for (operation, words), _ in said.items():
        shown.setdefault(f"{operation} {words[0]}", f"  {operation.replace('_', ' ')}: {words}")
    return [*lines, *shown.values()]


def _short(words: str, most: int = 150) -> str:
    words = " ".join(words.split())
    return words if len(words) <= most else words[: most - 1] + "…"


def write_table(terminalreporter: Any) -> None:
    """For pytest's hook, in tests/conftest.py."""
    cells: list[Cell] = []
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            properties = dict(getattr(report, "user_properties", []))
            if CELL in properties:
                operation, adapter, family, mark, words = properties[CELL]
                cells.append((operation, adapter, family, mark if outcome == "passed" else "BAD", words))
    if cells:
        terminalreporter.section("what PEFT's users do, on each kind of model")
        for line in table(cells):
            terminalreporter.write_line(line)
