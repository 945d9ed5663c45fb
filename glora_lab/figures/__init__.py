"""Records drawn as plotly figures, each with a function that says the same in words.

No figure computes: it lays out what a record holds. Colours, scales and the template are in `theme`.
"""

from glora_lab.figures.activity import describe_path_activity, plot_path_activity
from glora_lab.figures.blocks import describe_block_grid, plot_block_grid
from glora_lab.figures.budget import describe_path_budget, plot_path_budget
from glora_lab.figures.entanglement import describe_gradient_report, plot_gradient_report
from glora_lab.figures.equation import describe_equation, equation
from glora_lab.figures.paths import describe_path_picture, plot_path_picture
from glora_lab.figures.predictions import describe_predictions, plot_predictions
from glora_lab.figures.spectrum import describe_delta_spectrum, plot_delta_spectrum
from glora_lab.figures.training import describe_runs, describe_training, plot_runs, plot_training
from glora_lab.figures.xray import describe_xray, plot_xray
from glora_lab.figures.xray_layer import describe_xray_layer, plot_xray_layer

__all__ = [
    "describe_block_grid",
    "describe_delta_spectrum",
    "describe_equation",
    "describe_gradient_report",
    "describe_path_activity",
    "describe_path_budget",
    "describe_path_picture",
    "describe_predictions",
    "describe_runs",
    "describe_training",
    "describe_xray",
    "describe_xray_layer",
    "equation",
    "plot_block_grid",
    "plot_delta_spectrum",
    "plot_gradient_report",
    "plot_path_activity",
    "plot_path_budget",
    "plot_path_picture",
    "plot_predictions",
    "plot_runs",
    "plot_training",
    "plot_xray",
    "plot_xray_layer",
]
