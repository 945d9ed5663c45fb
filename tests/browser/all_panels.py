"""A notebook with one panel of each kind, a cell each, as the course calls them, on an adapter that has learnt."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tests.written_notebook import write_notebook

BEGIN = """\
import random
import torch
from peft import get_peft_model
from glora_lab import GraloraConfig, SearchSpace, fit, load_model, load_task
from glora_lab import panels
from glora_lab.records import Agreement, SearchResult, Trial
torch.set_num_threads(1)
torch.manual_seed(0)
adapted = get_peft_model(load_model("digits-vit"), GraloraConfig(r=8, gralora_k=2, target_modules=["fc1", "fc2"]))
steps = list(fit(adapted, load_task("digits-turned"), steps=30, lr=1e-2, seed=0, eval_every=30))
space, dice = SearchSpace.of(load_model("digits-vit")), random.Random(0)
choices = {f"any {n}": [dice.randrange(5) for _ in space.slots] for n in range(40)} | space.anchors()
counts = {name: space.params(choice) for name, choice in choices.items()}
scored = {name: 0.3 + 0.02 * count ** 0.3 + 0.1 * dice.random() for name, count in counts.items()}
trials = [
    Trial(n, counts[name], scored[name], 1.0, space.written(choice), "adapted", 0.1, name * name.startswith("rank"))
    for n, (name, choice) in enumerate(choices.items())
]
gate = Agreement("adapted", (0.1, 0.3, 0.2, 0.5), (0.2, 0.5, 0.4, 0.5), (10, 500, 3000, 8000), 0.67, 0.33)
found = SearchResult(tuple(trials), None, gate)
"""

GRAPH = ".glora-picture .js-plotly-plot"  # the main picture, and not one that stands below for afterwards
PANELS = {
    "PathPanel": "panels.PathPanel()",
    "BudgetPanel": "panels.BudgetPanel()",
    "TrainPanel": "panels.TrainPanel(steps=40)",
    "BlockPanel": 'panels.BlockPanel(adapted, "layers.0.mlp.fc1")',
    "EntanglementPanel": "panels.EntanglementPanel()",
    "OutlierPanel": "panels.OutlierPanel()",
    "ReachPanel": "panels.ReachPanel()",
    "XrayPanel": "panels.XrayPanel(adapted)",
    "SearchPanel": "panels.SearchPanel(study=found, limit=8000, keep_runs=False)",
    "MergePanel": "panels.MergePanel(cycles=10)",
}
# Of each panel the control that a reader moves most, and what shows the answer: CSS, within the panel.
MAIN = {
    "PathPanel": ("rank", GRAPH),
    "BudgetPanel": ("rank", GRAPH),
    "TrainPanel": ("rank", ".glora-side > .widget-html b"),  # what it costs: the curves wait for the run
    "BlockPanel": ("k", ".glora-cut-grid"),
    "EntanglementPanel": ("outlier channel", GRAPH),
    "OutlierPanel": ("rank", GRAPH),
    "ReachPanel": ("rank", GRAPH),
    "XrayPanel": ("layer", ".js-plotly-plot"),  # the last: that layer's, below all layers'
    "SearchPanel": ("limit", ".glora-trials-note"),
    "MergePanel": ("A and D", GRAPH),
}
# Where another picture follows, further down than a small screen shows.
BELOW = {"ReachPanel": ".glora-below .js-plotly-plot"}
RUN = "TrainPanel.train()\nsteps = TrainPanel.wait()"


def all_panels(folder: Path, first: str = "", last: str = "") -> Path:
    """The notebook, with a cell before the panels and one after them; test_all_panels asks that none is missing."""
    return write_notebook(folder / "all_panels.ipynb", BEGIN, first, *_cells(PANELS), RUN, last)


def one_panel(folder: Path, name: str, first: str = "") -> Path:
    """The panel of this name by itself, a cell before it: as most lessons have it."""
    return write_notebook(folder / f"{name}.ipynb", BEGIN, first, *_cells([name]))


def _cells(names: Iterable[str]) -> list[str]:
    return [f"{name} = {PANELS[name]}\n{name}" for name in names]
