"""What a study is of: model, data, space and how it is searched, so that whoever joins it looks for the same.

Scores can be held beside each other where all of it is alike. What may differ from worker to worker is left out: the
seed, how many trials, who proposes, and in what dtype or on what device a task's numbers lie.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from glora_lab import __version__
from glora_lab.data import Task

from .space import SearchSpace
from .written import written

OF_THE_CHECKPOINT = ("_name_or_path", "name_or_path", "transformers_version")  # where a model came from, not what it is


def identity(model: nn.Module, task: Task, space: SearchSpace, settings: Mapping[str, Any]) -> dict[str, str]:
    """What it is → how that is told from others: a digest, or words where a reader can compare them."""
    config: Any = getattr(model, "config", None)
    said = config.to_dict() if hasattr(config, "to_dict") else {}
    said = {name: value for name, value in said.items() if name not in OF_THE_CHECKPOINT}
    parts = {"train": task.train, "validation": task.validation, "test": task.test}
    examples = ((f"{part}.{name}", t) for part, of in parts.items() for name, t in of.inputs.items())
    return {
        "model": _digest([str(model), _json(said)], model.state_dict().items()),
        "data": _digest([], examples),
        "space": _digest([_json(written(space))], ()),
        "version of glora_lab": __version__,
        **{name: str(value) for name, value in settings.items()},
    }


def unlike(one: Mapping[str, str], other: Mapping[str, str]) -> str:
    """In which respects two differ, in words; "" where they do not."""
    differing = [what for what in {**one, **other} if one.get(what) != other.get(what)]
    return ", ".join(f"{what} ({one.get(what, 'none')} there, {other.get(what, 'none')} here)" for what in differing)


def _digest(texts: Iterable[str], tensors: Iterable[tuple[str, Any]]) -> str:
    """Twelve figures of a sum over all of it; of a tensor without storage, its shape."""
    summed = hashlib.sha256()
    for text in texts:
        summed.update(text.encode() + b"\0")
    for name, tensor in tensors:
        if not isinstance(tensor, Tensor):
            summed.update(f"{name} {tensor!r}\0".encode())
            continue
        summed.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\0".encode())
        if not tensor.is_meta:
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            summed.update(flat.view(torch.uint8).numpy().data)
    return summed.hexdigest()[:12]


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
