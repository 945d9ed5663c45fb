"""Records drawn as plotly figures, `plot_X`, whose title is the finding, and the same in words for whoever cannot see
them, `describe_X`: two halves of one picture.

No figure computes: it lays out what a record holds. Colours, scales and the template are in `theme`.
"""

from glora_lab.extras import needed

needed("drawing a figure", "plotly")

from glora_lab.drawing.equation import describe_equation, equation
from glora_lab.drawing.low_rank_equation import describe_low_rank_equation, low_rank_equation
from glora_lab.drawing.picture import apart
from glora_lab.ideas.blocks.figure import draw_block_grid
from glora_lab.ideas.blocks.figure_block_cut import draw_block_cut
from glora_lab.ideas.blocks.figure_block_detail import draw_block_detail
from glora_lab.ideas.blocks.figure_cut_cells import cut_cells
from glora_lab.ideas.blocks.figure_rank_by_k import draw_rank_by_k
from glora_lab.ideas.budget.figure import draw_path_budget
from glora_lab.ideas.cost.figure import draw_cost_report
from glora_lab.ideas.descent.figure import draw_descent, draw_stable_step
from glora_lab.ideas.entanglement.figure import draw_gradient_report
from glora_lab.ideas.merging.figure import draw_merge_report
from glora_lab.ideas.merging.figure_order import draw_merge_order
from glora_lab.ideas.merging.figure_output import draw_merge_errors
from glora_lab.ideas.outliers.figure import draw_outliers
from glora_lab.ideas.outliers.figure_localisation import draw_localisation
from glora_lab.ideas.paths.figure import draw_path_picture
from glora_lab.ideas.paths.figure_activity import draw_path_activity
from glora_lab.ideas.reach.figure import draw_rank_reach
from glora_lab.ideas.reach.figure_weight_changes import draw_weight_changes
from glora_lab.ideas.real.figure import draw_real_runs
from glora_lab.ideas.real.figure_changes import draw_real_changes
from glora_lab.ideas.real.figure_drift import draw_real_drift
from glora_lab.ideas.search.figure import draw_search
from glora_lab.ideas.search.figure_importance import draw_agreement, draw_importance
from glora_lab.ideas.search.figure_path_map import draw_path_map
from glora_lab.ideas.training.figure import draw_training
from glora_lab.ideas.training.figure_predictions import draw_predictions
from glora_lab.ideas.training.figure_race import describe_race
from glora_lab.ideas.training.figure_readings import draw_readings
from glora_lab.ideas.training.figure_runs import draw_runs
from glora_lab.ideas.training.figure_writing import draw_writing
from glora_lab.ideas.xray.figure import draw_xray
from glora_lab.ideas.xray.figure_layer import draw_xray_layer
from glora_lab.ideas.xray.figure_spectrum import draw_delta_spectrum

plot_block_grid, describe_block_grid = apart(draw_block_grid)
plot_block_cut, describe_block_cut = apart(draw_block_cut)
plot_block_detail, describe_block_detail = apart(draw_block_detail)
plot_rank_by_k, describe_rank_by_k = apart(draw_rank_by_k)
plot_path_budget, describe_path_budget = apart(draw_path_budget)
plot_cost_report, describe_cost_report = apart(draw_cost_report)
plot_descent, describe_descent = apart(draw_descent)
plot_stable_step, describe_stable_step = apart(draw_stable_step)
plot_gradient_report, describe_gradient_report = apart(draw_gradient_report)
plot_merge_report, describe_merge_report = apart(draw_merge_report)
plot_merge_errors, describe_merge_errors = apart(draw_merge_errors)
plot_merge_order, describe_merge_order = apart(draw_merge_order)
plot_outliers, describe_outliers = apart(draw_outliers)
plot_localisation, describe_localisation = apart(draw_localisation)
plot_path_picture, describe_path_picture = apart(draw_path_picture)
plot_path_activity, describe_path_activity = apart(draw_path_activity)
plot_rank_reach, describe_rank_reach = apart(draw_rank_reach)
plot_weight_changes, describe_weight_changes = apart(draw_weight_changes)
plot_real_runs, describe_real_runs = apart(draw_real_runs)
plot_real_changes, describe_real_changes = apart(draw_real_changes)
plot_real_drift, describe_real_drift = apart(draw_real_drift)
plot_search, describe_search = apart(draw_search)
plot_path_map, describe_path_map = apart(draw_path_map)
plot_importance, describe_importance = apart(draw_importance)
plot_agreement, describe_agreement = apart(draw_agreement)
plot_training, describe_training = apart(draw_training)
plot_predictions, describe_predictions = apart(draw_predictions)
plot_readings, describe_readings = apart(draw_readings)
plot_runs, describe_runs = apart(draw_runs)
plot_writing, describe_writing = apart(draw_writing)
plot_xray, describe_xray = apart(draw_xray)
plot_xray_layer, describe_xray_layer = apart(draw_xray_layer)
plot_delta_spectrum, describe_delta_spectrum = apart(draw_delta_spectrum)

__all__ = [
    "cut_cells",
    "describe_agreement",
    "describe_block_cut",
    "describe_block_detail",
    "describe_block_grid",
    "describe_cost_report",
    "describe_delta_spectrum",
    "describe_descent",
    "describe_equation",
    "describe_gradient_report",
    "describe_importance",
    "describe_localisation",
    "describe_low_rank_equation",
    "describe_merge_errors",
    "describe_merge_order",
    "describe_merge_report",
    "describe_outliers",
    "describe_path_activity",
    "describe_path_budget",
    "describe_path_map",
    "describe_path_picture",
    "describe_predictions",
    "describe_race",
    "describe_rank_by_k",
    "describe_rank_reach",
    "describe_readings",
    "describe_real_changes",
    "describe_real_drift",
    "describe_real_runs",
    "describe_runs",
    "describe_search",
    "describe_stable_step",
    "describe_training",
    "describe_weight_changes",
    "describe_writing",
    "describe_xray",
    "describe_xray_layer",
    "equation",
    "low_rank_equation",
    "plot_agreement",
    "plot_block_cut",
    "plot_block_detail",
    "plot_block_grid",
    "plot_cost_report",
    "plot_delta_spectrum",
    "plot_descent",
    "plot_gradient_report",
    "plot_importance",
    "plot_localisation",
    "plot_merge_errors",
    "plot_merge_order",
    "plot_merge_report",
    "plot_outliers",
    "plot_path_activity",
    "plot_path_budget",
    "plot_path_map",
    "plot_path_picture",
    "plot_predictions",
    "plot_rank_by_k",
    "plot_rank_reach",
    "plot_readings",
    "plot_real_changes",
    "plot_real_drift",
    "plot_real_runs",
    "plot_runs",
    "plot_search",
    "plot_stable_step",
    "plot_training",
    "plot_weight_changes",
    "plot_writing",
    "plot_xray",
    "plot_xray_layer",
]
