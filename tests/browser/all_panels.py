"""A notebook with one panel of each kind, a cell each, as the course calls them, on an adapter that has learnt."""

from __future__ import annotations

from pathlib import Path

from tests.written_notebook import write_notebook

BEGIN = """\
import torch
from peft import get_peft_model
from glora_lab import GraloraConfig, fit, load_model, load_task
from glora_lab import panels
torch.set_num_threads(1)
torch.manual_seed(0)
adapted = get_peft_model(load_model("digits-vit"), GraloraConfig(r=8, gralora_k=2, target_modules=["fc1", "fc2"]))
steps = list(fit(adapted, load_task("digits-turned"), steps=30, lr=1e-2, seed=0, eval_every=30))
"""

PANELS = {
    "PathPanel": "panels.PathPanel()",
    "BudgetPanel": "panels.BudgetPanel()",
    "TrainPanel": "panels.TrainPanel(steps=40)",
    "BlockPanel": 'panels.BlockPanel(adapted, "layers.0.mlp.fc1")',
    "EntanglementPanel": "panels.EntanglementPanel()",
    "ReachPanel": "panels.ReachPanel()",
    "XrayPanel": "panels.XrayPanel(adapted)",
    "MergePanel": "panels.MergePanel(cycles=10)",
}
RUN = "TrainPanel.train()\nsteps = TrainPanel.wait()"


def all_panels(folder: Path, first: str = "", last: str = "") -> Path:
    """The notebook, with a cell before the panels and one after them; test_all_panels asks that none is missing."""
    cells = [f"{name} = {call}\n{name}" for name, call in PANELS.items()]
    return write_notebook(folder / "all_panels.ipynb", BEGIN, first, *cells, RUN, last)
