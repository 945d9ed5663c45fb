"""`show(record)`: the picture of a record in a notebook cell, with the same in words below it.

A plotly figure that is displayed by itself may bring megabytes of plotly with it and has no words for those who
cannot see it; this sends the same output as the panels do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from IPython.display import HTML, display

from glora_lab import figures
from glora_lab.drawing.equation import equation
from glora_lab.ideas.blocks.record import BlockDetail, BlockGrid, RankAtK
from glora_lab.ideas.budget.record import PathBudget
from glora_lab.ideas.cost.record import CostReport
from glora_lab.ideas.descent.record import Descent, StableStep
from glora_lab.ideas.entanglement.record import GradientReport
from glora_lab.ideas.merging.record import MergeReport
from glora_lab.ideas.paths.record import PathActivity, PathPicture
from glora_lab.ideas.reach.record import RankReach, WeightChange
from glora_lab.ideas.training.record import Predictions, Run, Step
from glora_lab.ideas.training.record_writing import Writing
from glora_lab.ideas.xray.record import XrayLayer, XrayReport
from glora_lab.ideas.xray.record_spectrum import Spectrum
from glora_lab.page.figure_slot import figure_data, words
from glora_lab.record import Record

PICTURES: Mapping[type[Record], tuple[Callable[..., Any], Callable[..., str]]] = {
    BlockDetail: (figures.plot_block_detail, figures.describe_block_detail),
    BlockGrid: (figures.plot_block_grid, figures.describe_block_grid),
    CostReport: (figures.plot_cost_report, figures.describe_cost_report),
    Descent: (figures.plot_descent, figures.describe_descent),
    GradientReport: (figures.plot_gradient_report, figures.describe_gradient_report),
    MergeReport: (figures.plot_merge_report, figures.describe_merge_report),
    PathActivity: (figures.plot_path_activity, figures.describe_path_activity),
    PathBudget: (figures.plot_path_budget, figures.describe_path_budget),
    PathPicture: (figures.plot_path_picture, figures.describe_path_picture),
    Predictions: (figures.plot_predictions, figures.describe_predictions),
    RankAtK: (figures.plot_rank_by_k, figures.describe_rank_by_k),
    RankReach: (figures.plot_rank_reach, figures.describe_rank_reach),
    Run: (figures.plot_runs, figures.describe_runs),
    Spectrum: (figures.plot_delta_spectrum, figures.describe_delta_spectrum),
    StableStep: (figures.plot_stable_step, figures.describe_stable_step),
    Step: (figures.plot_training, figures.describe_training),
    WeightChange: (figures.plot_weight_changes, figures.describe_weight_changes),
    Writing: (figures.plot_writing, figures.describe_writing),
    XrayLayer: (figures.plot_xray_layer, figures.describe_xray_layer),
    XrayReport: (figures.plot_xray, figures.describe_xray),
}


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
    if kind not in PICTURES:
        known = ", ".join(record.__name__ for record in PICTURES)
        raise ValueError(f"`what` (a {type(what).__name__}) has no picture; these have one: {known}")
    plot, describe = PICTURES[kind]
    if isinstance(what, PathPicture):
        display(HTML(equation(what.modes, what.inert, what.form)))
    summary = describe(what)
    display(figure_data(plot(what), summary), raw=True)
    display(HTML(words(summary)))


def _an_example(what: Any) -> Any:
    while isinstance(what, Mapping | list | tuple) and len(what):
        what = next(iter(what.values() if isinstance(what, Mapping) else what))
    return what
