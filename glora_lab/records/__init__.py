"""The vocabulary: every frozen record that crosses a module boundary, one file an idea.

A measure returns a record, a figure draws one, a panel shows one. Records hold numpy arrays and plain
values, never tensors, so that nothing downstream can reach back into a model. Two records are equal
when all fields are, arrays included; a record shows itself in a notebook as a small table and turns
into a list of dicts for pandas.

Axes carry one letter everywhere: o output channel, i input channel, n image, h and w its height and width; in a
grid of k×k blocks m counts the output blocks and n the input blocks, both typed "k k".
"""

from .blocks import BlockDetail, BlockGrid, RankAtK
from .cost import Cost, CostReport
from .descent import Descent, StableStep
from .export import ExportReport, LayerExport
from .gradients import GradientReport
from .merging import LayerMerge, MergeReport
from .paths import PathActivity, PathBudget, PathCount, PathPicture
from .reach import RankReach, Reach, WeightChange
from .record import Record
from .spectrum import Spectrum
from .training import Predictions, Run, Step
from .verdict import Verdict
from .writing import Writing
from .xray import XrayLayer, XrayReport

__all__ = [
    "BlockDetail",
    "BlockGrid",
    "Cost",
    "CostReport",
    "Descent",
    "ExportReport",
    "GradientReport",
    "LayerExport",
    "LayerMerge",
    "MergeReport",
    "PathActivity",
    "PathBudget",
    "PathCount",
    "PathPicture",
    "Predictions",
    "RankAtK",
    "RankReach",
    "Reach",
    "Record",
    "Run",
    "Spectrum",
    "StableStep",
    "Step",
    "Verdict",
    "WeightChange",
    "Writing",
    "XrayLayer",
    "XrayReport",
]
