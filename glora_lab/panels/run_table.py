"""The runs so far as a table, the best of them marked."""

from __future__ import annotations

import html
from collections.abc import Sequence

from glora_lab.records import Run

CELL = "padding:3px 14px 3px 0"


def run_table(runs: Sequence[Run]) -> str:
    """An HTML table: name, parameters, test accuracy, seconds. Empty without runs."""
    if not runs:
        return ""
    best = max(runs, key=lambda run: run.metric)
    head = "".join(
        f'<th scope="col" style="{CELL};text-align:{side}">{word}</th>'
        for word, side in (
            ("run", "left"),
            ("parameters", "right"),
            ("test accuracy", "right"),
            ("seconds", "right"),
        )
    )
    body = "".join(_row(run, run is best and len(runs) > 1) for run in runs)
    return f'<table style="border-collapse:collapse;line-height:1.4"><tr>{head}</tr>{body}</table>'


def _row(run: Run, best: bool) -> str:
    accuracy = f"<b>★ {run.metric:.1%}</b>" if best else f"{run.metric:.1%}"
    numbers = (f"{run.params:,}", accuracy, f"{run.seconds:.1f}")
    cells = "".join(f'<td style="{CELL};text-align:right">{text}</td>' for text in numbers)
    return f'<tr><td style="{CELL}">{html.escape(run.name)}</td>{cells}</tr>'
