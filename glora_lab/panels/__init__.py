"""Panels: controls → measure → figures, in a notebook. No arithmetic here, and nothing imports it.

Each panel keeps what its handlers met in `errors`; `check_panels()` in a notebook's last cell asks them all.
"""

import warnings

from glora_lab.extras import needed

needed("a panel", "ipywidgets", "plotly", "anywidget")

from glora_lab.ideas.blocks.panel import BlockPanel
from glora_lab.ideas.budget.panel import BudgetPanel
from glora_lab.ideas.entanglement.panel import EntanglementPanel
from glora_lab.ideas.guess.panel import Guess
from glora_lab.ideas.merging.panel import MergePanel
from glora_lab.ideas.outliers.panel import OutlierPanel
from glora_lab.ideas.paths.panel import PathPanel
from glora_lab.ideas.reach.panel import ReachPanel
from glora_lab.ideas.search.panel import SearchPanel
from glora_lab.ideas.show import show
from glora_lab.ideas.training.panel import TrainPanel
from glora_lab.ideas.xray.panel import XrayPanel
from glora_lab.page.panel import Panel, check_panels, panel_errors
from glora_lab.page.sweep import sweep

# PEFT 0.21 asks transformers 5.23 for an attribute by its old name, and every reader would be told so.
warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.* is deprecated", category=FutureWarning)
# PEFT 0.20 looks for the vocabulary of a base model without a name, and tells every reader that it found none.
warnings.filterwarnings("ignore", message="Could not find a config file in  - will assume", category=UserWarning)

__all__ = [
    "BlockPanel",
    "BudgetPanel",
    "EntanglementPanel",
    "Guess",
    "MergePanel",
    "OutlierPanel",
    "Panel",
    "PathPanel",
    "ReachPanel",
    "SearchPanel",
    "TrainPanel",
    "XrayPanel",
    "check_panels",
    "panel_errors",
    "show",
    "sweep",
]
