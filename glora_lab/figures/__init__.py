"""Records drawn as plotly figures, each with a function that says the same in words.

No figure computes: it lays out what a record holds. Colours, scales and the template are in `theme`.
"""

from glora_lab.extras import needed

needed("drawing a figure", "plotly")

from glora_lab.drawing.equation import describe_equation, equation
from glora_lab.drawing.low_rank_equation import describe_low_rank_equation, low_rank_equation
from glora_lab.ideas.blocks.figure import describe_block_grid, plot_block_grid
from glora_lab.ideas.blocks.figure_block_cells import block_cells
from glora_lab.ideas.blocks.figure_block_detail import describe_block_detail, plot_block_detail
from glora_lab.ideas.blocks.figure_rank_by_k import describe_rank_by_k, plot_rank_by_k
from glora_lab.ideas.budget.figure import describe_path_budget, plot_path_budget
from glora_lab.ideas.cost.figure import describe_cost_report, plot_cost_report
from glora_lab.ideas.descent.figure import describe_descent, describe_stable_step, plot_descent, plot_stable_step
from glora_lab.ideas.entanglement.figure import describe_gradient_report, plot_gradient_report
from glora_lab.ideas.merging.figure import plot_merge_report
from glora_lab.ideas.merging.figure_words import describe_merge_report
from glora_lab.ideas.paths.figure import describe_path_picture, plot_path_picture
from glora_lab.ideas.paths.figure_activity import describe_path_activity, plot_path_activity
from glora_lab.ideas.reach.figure import describe_rank_reach, plot_rank_reach
from glora_lab.ideas.reach.figure_weight_changes import describe_weight_changes, plot_weight_changes
from glora_lab.ideas.training.figure import describe_training, plot_training
from glora_lab.ideas.training.figure_predictions import describe_predictions, plot_predictions
from glora_lab.ideas.training.figure_race import describe_race
from glora_lab.ideas.training.figure_runs import describe_runs, plot_runs
from glora_lab.ideas.training.figure_writing import describe_writing, plot_writing
from glora_lab.ideas.xray.figure import describe_xray, plot_xray
from glora_lab.ideas.xray.figure_layer import describe_xray_layer, plot_xray_layer
from glora_lab.ideas.xray.figure_spectrum import describe_delta_spectrum, plot_delta_spectrum

__all__ = [
    "block_cells",
    "describe_block_detail",
    "describe_block_grid",
    "describe_cost_report",
    "describe_delta_spectrum",
    "describe_descent",
    "describe_equation",
    "describe_gradient_report",
    "describe_low_rank_equation",
    "describe_merge_report",
    "describe_path_activity",
    "describe_path_budget",
    "describe_path_picture",
    "describe_predictions",
    "describe_race",
    "describe_rank_by_k",
    "describe_rank_reach",
    "describe_runs",
    "describe_stable_step",
    "describe_training",
    "describe_weight_changes",
    "describe_writing",
    "describe_xray",
    "describe_xray_layer",
    "equation",
    "low_rank_equation",
    "plot_block_detail",
    "plot_block_grid",
    "plot_cost_report",
    "plot_delta_spectrum",
    "plot_descent",
    "plot_gradient_report",
    "plot_merge_report",
    "plot_path_activity",
    "plot_path_budget",
    "plot_path_picture",
    "plot_predictions",
    "plot_rank_by_k",
    "plot_rank_reach",
    "plot_runs",
    "plot_stable_step",
    "plot_training",
    "plot_weight_changes",
    "plot_writing",
    "plot_xray",
    "plot_xray_layer",
]
