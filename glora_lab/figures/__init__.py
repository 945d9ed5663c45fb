"""Records drawn as plotly figures, each with a function that says the same in words.

No figure computes: it lays out what a record holds. Colours, scales and the template are in `theme`.
"""

from glora_lab.extras import needed

needed("drawing a figure", "plotly")

from glora_lab.figures.activity import describe_path_activity, plot_path_activity
from glora_lab.figures.block_cells import block_cells
from glora_lab.figures.block_detail import describe_block_detail, plot_block_detail
from glora_lab.figures.blocks import describe_block_grid, plot_block_grid
from glora_lab.figures.budget import describe_path_budget, plot_path_budget
from glora_lab.figures.cost import describe_cost_report, plot_cost_report
from glora_lab.figures.descent import describe_descent, describe_stable_step, plot_descent, plot_stable_step
from glora_lab.figures.entanglement import describe_gradient_report, plot_gradient_report
from glora_lab.figures.equation import describe_equation, equation
from glora_lab.figures.low_rank_equation import describe_low_rank_equation, low_rank_equation
from glora_lab.figures.merging import plot_merge_report
from glora_lab.figures.merging_words import describe_merge_report
from glora_lab.figures.paths import describe_path_picture, plot_path_picture
from glora_lab.figures.predictions import describe_predictions, plot_predictions
from glora_lab.figures.race import describe_race
from glora_lab.figures.rank_by_k import describe_rank_by_k, plot_rank_by_k
from glora_lab.figures.reach import describe_rank_reach, plot_rank_reach
from glora_lab.figures.runs import describe_runs, plot_runs
from glora_lab.figures.spectrum import describe_delta_spectrum, plot_delta_spectrum
from glora_lab.figures.training import describe_training, plot_training
from glora_lab.figures.weight_changes import describe_weight_changes, plot_weight_changes
from glora_lab.figures.writing import describe_writing, plot_writing
from glora_lab.figures.xray import describe_xray, plot_xray
from glora_lab.figures.xray_layer import describe_xray_layer, plot_xray_layer

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
