"""How well a model does on a part: accuracy and loss in one pass, as all engines are compared by."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from glora_lab.data import Part
from glora_lab.models.mode import eval_mode
from glora_lab.training.evaluate import IGNORED


class Score(NamedTuple):
    """`metric` is the share of examples (of text, bytes) whose label is found most likely, `loss` the mean loss."""

    metric: float
    loss: float


def score(model: nn.Module, part: Part, batch_size: int = 256) -> Score:
    """In eval mode and without gradients; every module gets its mode back."""
    right = counted = total = 0.0
    device = next(model.parameters()).device
    with eval_mode(model), torch.no_grad():
        for start in range(0, len(part), batch_size):
            batch = {name: t.to(device) for name, t in part.rows(slice(start, start + batch_size)).items()}
            out = model(**batch)
            said, wanted = out.logits.argmax(-1), batch["labels"]
            if wanted.ndim == 2:  # text: what is said at a byte is about the next one
                said, wanted = said[:, :-1], wanted[:, 1:]
            known = wanted != IGNORED
            right += float((said == wanted)[known].sum())
            counted += float(known.sum())
            total += float(out.loss) * len(batch["labels"])
    return Score(right / counted, total / len(part))
