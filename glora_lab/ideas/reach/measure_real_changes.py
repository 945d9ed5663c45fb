"""What full fine-tuning changed in three matrices of minilm, as the package carries it: ΔW that nobody drew.

`glora_lab.real.make_weight_changes` made `minilm_changes.safetensors`: all of minilm trained for 60 steps on
"docstrings-swapped" (AdamW, learning rate 1e-4, batches of 16), and of three attention layers the weight after less the
weight before. An entry is a signed byte times its row's scale, which rounds 0.6 to 0.9% of the norm away.
"""

from __future__ import annotations

from importlib import resources

import numpy as np
from safetensors.numpy import load

from .measure_weight_changes import weight_change
from .record import WeightChange

FILE = "minilm_changes.safetensors"
NAMES = {
    "bert.encoder.layer.1.attention.self.value": "value of layer 1",
    "bert.encoder.layer.3.attention.output.dense": "output of layer 3",
    "bert.encoder.layer.5.attention.self.query": "query of layer 5",
}


def real_weight_changes() -> tuple[WeightChange, ...]:
    """The three changes (384, 384), scaled to norm 1 as those that are drawn."""
    held = load((resources.files("glora_lab.ideas.reach") / FILE).read_bytes())
    changes = ((name, held[layer] * held[f"{layer}.scale"][:, None]) for layer, name in NAMES.items())
    return tuple(weight_change(name, change / np.linalg.norm(change)) for name, change in changes)
