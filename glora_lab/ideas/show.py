"""`show(record)`: the picture of a record in a notebook cell, with the same in words below it.

A plotly figure that is displayed by itself may bring megabytes of plotly with it and has no words for those who
cannot see it; this sends the same output as the panels do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from IPython.display import HTML, display

from glora_lab import figures  # noqa: F401, where every function that draws a record is named
from glora_lab.drawing.picture import DRAWN_BY
from glora_lab.page.figure_slot import picture_data, words
from glora_lab.record import Record


def show(what: Record | Sequence[Record] | Mapping[str, Any]) -> None:
    """Draw a record, several of a kind, or several by name, in the cell that calls it.

    Args:
        what: whatever the figure of that record takes: `plot_path_budget` one, a list or a dict by name;
            `plot_weight_changes` one or several; `plot_predictions`, `plot_writing`, `plot_training`,
            `plot_gradient_report`, `plot_merge_report`, `plot_descent` and `plot_stable_step` one or a dict by name;
            `plot_runs` and `plot_rank_by_k` a list.

    Raises:
        ValueError: for something that has no picture.
    """
    kind = type(_an_example(what))
    if kind not in DRAWN_BY:
        known = ", ".join(sorted(record.__name__ for record in DRAWN_BY))
        raise ValueError(f"`what` (a {type(what).__name__}) has no picture; these have one: {known}")
    picture = DRAWN_BY[kind](what)
    if picture.formula:
        display(HTML(picture.formula))
    display(picture_data(picture), raw=True)
    display(HTML(words(picture.words)))


def _an_example(what: Any) -> Any:
    while isinstance(what, Mapping | list | tuple) and len(what):
        what = next(iter(what.values() if isinstance(what, Mapping) else what))
    return what
