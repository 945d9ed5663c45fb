"""How well a model does on a part: accuracy and loss in one pass, as all engines are compared by."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from glora_lab.data import Part
from glora_lab.models.mode import eval_mode
from glora_lab.training.evaluate import IGNORED, at_once, counted, wanted_of


class Score(NamedTuple):
    """`metric` is the share of examples (of text, bytes) whose label is found most likely, `loss` the mean loss."""

    metric: float
    loss: float


def score(model: nn.Module, part: Part, batch_size: int = 256) -> Score:
    """In eval mode and without gradients; every module gets its mode back."""
    wanted, right, total = wanted_of(part), 0.0, 0.0
    device, batch_size = next(model.parameters()).device, at_once(model, wanted, batch_size)
    with eval_mode(model), torch.no_grad():
        for start in range(0, len(part), batch_size):
            batch = {name: t.to(device) for name, t in part.rows(slice(start, start + batch_size)).items()}
            out = model(**batch)
            said, about = out.logits.argmax(-1).cpu(), wanted[start : start + batch_size]
            said = said[:, :-1] if about.ndim == 2 else said
            right += float((said == about)[about != IGNORED].sum())
            total += float(out.loss) * len(about)
    return Score(right / counted(part), total / len(part))
