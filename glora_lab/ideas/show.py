"""`show(record)`: the picture of a record in a notebook cell, with the same in words below it.

A plotly figure that is displayed by itself may bring megabytes of plotly with it and has no words for those who
cannot see it; this sends the same output as the panels do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from IPython.display import display

from glora_lab import figures  # noqa: F401, where every function that draws a record is named
from glora_lab.arguments import check_function
from glora_lab.drawing.picture import Picture, picture_of
from glora_lab.page.figure_slot import as_outputs
from glora_lab.record import Record


def show(what: Record | Sequence[Record] | Mapping[str, Any], draw: Callable[..., Picture] | None = None) -> None:
    """Draw a record, several of a kind, or several by name, in the cell that calls it.

    Args:
        what: whatever the figure of that record takes: `plot_path_budget` one, a list or a dict by name;
            `plot_weight_changes` one or several; `plot_predictions`, `plot_writing`, `plot_training`,
            `plot_gradient_report`, `plot_merge_report`, `plot_descent` and `plot_stable_step` one or a dict by name;
            `plot_runs` and `plot_rank_by_k` a list.
        draw: where a record has several pictures, the function of another than its first: `draw_merge_errors`.

    Raises:
        ValueError: for something that has no picture.
    """
    check_function("draw", draw, "a record, which makes its picture")
    for output in as_outputs(picture_of(what) if draw is None else draw(what)):
        display(output, raw=True)
