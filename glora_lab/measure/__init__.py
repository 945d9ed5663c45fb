"""Computation → records: what an adapter is, costs and does, as plain numbers."""

from glora_lab.ideas.blocks.measure import block_grid
from glora_lab.ideas.blocks.measure_block_cut import block_cut
from glora_lab.ideas.blocks.measure_block_detail import block_detail
from glora_lab.ideas.blocks.measure_rank_by_k import rank_by_k
from glora_lab.ideas.budget.measure import path_budget
from glora_lab.ideas.budget.measure_equal_budget import rank_for_budget
from glora_lab.ideas.cost.measure import cost_report
from glora_lab.ideas.descent.measure import descent, stable_step
from glora_lab.ideas.entanglement.measure import gradient_report, sensible_limit
from glora_lab.ideas.merging.measure import merge_report
from glora_lab.ideas.merging.measure_order import merge_order
from glora_lab.ideas.outliers.measure import outliers
from glora_lab.ideas.outliers.measure_controls import controlled
from glora_lab.ideas.outliers.measure_localisation import expected_share, localisation
from glora_lab.ideas.outliers.measure_tokens import layer_tokens
from glora_lab.ideas.paths.measure import path_picture
from glora_lab.ideas.paths.measure_activity import path_activity
from glora_lab.ideas.reach.measure import best_change, best_changes, best_error, rank_reach
from glora_lab.ideas.reach.measure_trained import trained_error
from glora_lab.ideas.reach.measure_weight_changes import weight_change, weight_changes
from glora_lab.ideas.xray.measure import xray
from glora_lab.ideas.xray.measure_spectrum import delta_spectrum

__all__ = [
    "best_change",
    "best_changes",
    "best_error",
    "block_cut",
    "block_detail",
    "block_grid",
    "controlled",
    "cost_report",
    "delta_spectrum",
    "descent",
    "expected_share",
    "gradient_report",
    "layer_tokens",
    "localisation",
    "merge_order",
    "merge_report",
    "outliers",
    "path_activity",
    "path_budget",
    "path_picture",
    "rank_by_k",
    "rank_for_budget",
    "rank_reach",
    "sensible_limit",
    "stable_step",
    "trained_error",
    "weight_change",
    "weight_changes",
    "xray",
]
