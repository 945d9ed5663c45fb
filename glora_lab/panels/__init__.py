"""Panels: controls → measure → figures, in a notebook. No arithmetic here, and nothing imports it.

Each panel keeps what its handlers met in `errors`; `check_panels()` in a notebook's last cell asks them all.
"""

import warnings

from glora_lab.extras import needed

needed("a panel", "ipywidgets", "plotly", "anywidget")

from glora_lab.panels.blocks import BlockPanel
from glora_lab.panels.budget import BudgetPanel
from glora_lab.panels.entanglement import EntanglementPanel
from glora_lab.panels.merging import MergePanel
from glora_lab.panels.panel import Panel, check_panels, panel_errors
from glora_lab.panels.paths import PathPanel
from glora_lab.panels.reach import ReachPanel
from glora_lab.panels.show import show
from glora_lab.panels.training import TrainPanel
from glora_lab.panels.xray import XrayPanel

# PEFT 0.21 asks transformers 5.23 for an attribute by its old name, and every reader would be told so.
warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.* is deprecated", category=FutureWarning)
# PEFT 0.20 looks for the vocabulary of a base model without a name, and tells every reader that it found none.
warnings.filterwarnings("ignore", message="Could not find a config file in  - will assume", category=UserWarning)

__all__ = [
    "BlockPanel",
    "BudgetPanel",
    "EntanglementPanel",
    "MergePanel",
    "Panel",
    "PathPanel",
    "ReachPanel",
    "TrainPanel",
    "XrayPanel",
    "check_panels",
    "panel_errors",
    "show",
]
