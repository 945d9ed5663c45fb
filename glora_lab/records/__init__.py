"""The vocabulary: every frozen record that crosses a module boundary, one file an idea.

A measure returns a record, a figure draws one, a panel shows one. Records hold numpy arrays and plain
values, never tensors, so that nothing downstream can reach back into a model. Two records are equal
when all fields are, arrays included; a record shows itself in a notebook as a small table and turns
into a list of dicts for pandas.

Axes carry one letter everywhere: o output channel, i input channel, r rank, s of a block's rank or of singular
values, n image, h and w its height and width, d draw, t step, c cycle; in a grid of k×k blocks m counts the output
blocks and n the input blocks, both typed "k k".
"""

from glora_lab.ideas.blocks.record import BlockCut, BlockDetail, BlockGrid, RankAtK
from glora_lab.ideas.budget.record import PathBudget, PathCount
from glora_lab.ideas.cost.record import Cost, CostReport
from glora_lab.ideas.descent.record import Descent, StableStep
from glora_lab.ideas.entanglement.record import GradientReport
from glora_lab.ideas.exercises.record import Verdict
from glora_lab.ideas.export.record import ExportReport, LayerExport
from glora_lab.ideas.guess.record import Guessed
from glora_lab.ideas.merging.record import LayerMerge, MergeOrder, MergeReport
from glora_lab.ideas.outliers.record import LayerOutliers, Outliers
from glora_lab.ideas.outliers.record_localisation import ContaminatedShare, ControlledLayer, Localisation
from glora_lab.ideas.paths.record import PathActivity, PathPicture
from glora_lab.ideas.reach.record import RankReach, Reach, WeightChange
from glora_lab.ideas.real.record import Difference, RealCell, RealRun, RealRuns
from glora_lab.ideas.real.record_changes import MatrixChange, RealChanges
from glora_lab.ideas.real.record_drift import DriftRow, RealDrift
from glora_lab.ideas.search.record import (
    Agreement,
    Importance,
    PathChoice,
    PathMap,
    SearchResult,
    Trial,
    Verified,
)
from glora_lab.ideas.search.record_stored import StoredSearch
from glora_lab.ideas.training.record import Predictions, Run, Step
from glora_lab.ideas.training.record_ranking import Ranking
from glora_lab.ideas.training.record_readings import Readings
from glora_lab.ideas.training.record_writing import Writing
from glora_lab.ideas.xray.record import XrayLayer, XrayReport
from glora_lab.ideas.xray.record_spectrum import Spectrum
from glora_lab.record import Record

__all__ = [
    "Agreement",
    "BlockCut",
    "BlockDetail",
    "BlockGrid",
    "ContaminatedShare",
    "ControlledLayer",
    "Cost",
    "CostReport",
    "Descent",
    "Difference",
    "DriftRow",
    "ExportReport",
    "GradientReport",
    "Guessed",
    "Importance",
    "LayerExport",
    "LayerMerge",
    "LayerOutliers",
    "Localisation",
    "MatrixChange",
    "MergeOrder",
    "MergeReport",
    "Outliers",
    "PathActivity",
    "PathBudget",
    "PathChoice",
    "PathCount",
    "PathMap",
    "PathPicture",
    "Predictions",
    "RankAtK",
    "RankReach",
    "Ranking",
    "Reach",
    "Readings",
    "RealCell",
    "RealChanges",
    "RealDrift",
    "RealRun",
    "RealRuns",
    "Record",
    "Run",
    "SearchResult",
    "Spectrum",
    "StableStep",
    "Step",
    "StoredSearch",
    "Trial",
    "Verdict",
    "Verified",
    "WeightChange",
    "Writing",
    "XrayLayer",
    "XrayReport",
]
