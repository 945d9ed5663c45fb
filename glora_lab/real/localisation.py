"""How far contamination reaches on minilm, layer by layer, as it is and under controls, and the stored record of it.

The gradient is that of the start of training: a fresh head, 64 texts of "docstrings". `make_localisation` makes it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from importlib import resources
from typing import Any

from torch import nn

from glora_lab.data import load_task
from glora_lab.ideas.outliers.measure_controls import controlled
from glora_lab.ideas.outliers.measure_localisation import contaminated_share
from glora_lab.ideas.outliers.measure_tokens import LayerTokens, layer_tokens
from glora_lab.ideas.outliers.record_localisation import ContaminatedShare, Localisation
from glora_lab.models import load_model

FILE = "localisation.json"
MODEL, TASK, TEXTS = "minilm", "docstrings", 64
LAYERS = re.compile(r"bert\.encoder\.layer\.\d+\..+")


def stored_localisation() -> Localisation:
    """As it lies in the package: 36 layers, five controls, ranks 16 and 64, k = 1, 2, 4, 8."""
    return Localisation.from_json((resources.files("glora_lab.real") / FILE).read_text(encoding="utf-8"))


def localised_anew(layer: str, control: str, *, r: int, k: int) -> ContaminatedShare:
    """One cell of the stored record made anew: a pass through the model, and a fresh adapter for each draw.

    Args:
        layer: its name in the record.
        control, r, k: as in the record, or others.

    Raises:
        ValueError: for a layer that the model does not have, or a control, rank or k that cannot be.
        ImportError: where minilm's package is not installed.
    """
    gradient = controlled(tokens_of([layer])[layer], control)
    return contaminated_share(layer, control, gradient, r=r, k=k)


def layer_names() -> list[str]:
    """The 36 layers of the encoder."""
    return [name for name, module in _model().named_modules() if isinstance(module, nn.Linear) and LAYERS.match(name)]


@lru_cache(maxsize=1)
def _model() -> nn.Module:
    return load_model(MODEL, num_labels=load_task(TASK).num_classes)


def tokens_of(layers: Collection[str]) -> dict[str, LayerTokens]:
    """What the texts bring to these layers, and what comes back."""
    batch: Any = load_task(TASK).train.rows(slice(0, TEXTS))
    return layer_tokens(_model(), batch, layers)
