"""Makes the changes of W that ReachPanel shows of minilm: full fine-tuning, and three matrices of what it changed.

`python -m glora_lab.real.make_weight_changes`: a minute of one core. What is stored is rounded to signed bytes, with a
scale for each row; how much of the norm that takes away is printed.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save
from torch import nn

from glora_lab.data import load_task
from glora_lab.folders import replacing
from glora_lab.models import load_model
from glora_lab.training.loop import fit

PLACE = Path(__file__).parents[1] / "ideas/reach"
FILE = "minilm_changes.safetensors"
MODEL, TASK = "minilm", "docstrings-swapped"
STEPS, RATE, BATCH = 60, 1e-4, 16
LAYERS = (
    "bert.encoder.layer.1.attention.self.value",
    "bert.encoder.layer.3.attention.output.dense",
    "bert.encoder.layer.5.attention.self.query",
)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m glora_lab.real.make_weight_changes", description=__doc__)
    parser.add_argument("--into", type=Path, default=PLACE, help=f"the folder for {FILE}, by default the package's")
    given = parser.parse_args(arguments)
    held: dict[str, np.ndarray] = {}
    for layer, change in trained_changes(steps=STEPS).items():
        numbers, scale = rounded(change)
        lost = np.linalg.norm(numbers * scale[:, None] - change) / np.linalg.norm(change)
        print(f"{layer}: {np.linalg.norm(change):.3g}, rounded by {lost:.2%}")
        held |= {layer: numbers, f"{layer}.scale": scale}
    with replacing(given.into) as new:
        (new / FILE).write_bytes(save(held))


def trained_changes(*, steps: int) -> dict[str, np.ndarray]:
    """Layer → the weight after full fine-tuning less the weight before, (out, in)."""
    task = load_task(TASK)
    model = load_model(MODEL, num_labels=task.num_classes)
    before = _weights(model)
    for step in fit(model, task, steps=steps, lr=RATE, seed=0, batch_size=BATCH, eval_every=steps):
        print(f"step {step.index}: loss {step.loss:.3f}", flush=True)
    after = _weights(model)
    return {layer: after[layer] - before[layer] for layer in LAYERS}


def rounded(change: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Signed bytes (out, in), and what each row of them is to be multiplied by (out,)."""
    scale = np.maximum(np.abs(change).max(axis=1), np.finfo(np.float32).tiny) / 127
    return np.round(change / scale[:, None]).astype(np.int8), scale.astype(np.float32)


def _weights(model: nn.Module) -> Mapping[str, np.ndarray]:
    return {layer: model.get_parameter(f"{layer}.weight").detach().cpu().double().numpy() for layer in LAYERS}


if __name__ == "__main__":
    main()
