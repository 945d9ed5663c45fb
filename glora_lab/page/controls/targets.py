"""Which layers of a model an adapter goes on: a box to tick for each name that PEFT can match."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from torch import nn
from transformers.pytorch_utils import Conv1D

from glora_lab.adapters.base.frozen import features
from glora_lab.models.architectures import HEADS
from glora_lab.page.closing import replace_children
from glora_lab.page.controls import widgets

from .example import linear_layers
from .ticks import Ticks
from .widgets import row, tick


def target_names(model: nn.Module) -> Counter[str]:
    """Last part of a layer's name → how many layers have it; the names that `target_modules` takes."""
    return Counter(name.rpartition(".")[2] for name in linear_layers(model))


def body_targets(model: nn.Module) -> list[str]:
    """All of them but the head."""
    return [name for name in target_names(model) if name not in HEADS]


def target_sizes(model: nn.Module, targets: list[str]) -> list[int]:
    """Every number of features, in or out, that a layer of these names has; each once, smallest first."""
    layers = [model.get_submodule(name) for name in linear_layers(model) if name.rpartition(".")[2] in targets]
    return sorted({size for layer in layers for size in features(layer)})


class TargetControls(Ticks):
    """Boxes to tick; `targets` are the names that are ticked."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        super().__init__(on_change)
        self._conv1d: set[str] = set()
        self._row = row()
        self.children = [widgets.HTML("target modules"), self._row]

    @property
    def targets(self) -> list[str]:
        return self.value

    @property
    def conv1d(self) -> bool:
        """Whether a ticked layer is a Conv1D."""
        return any(name in self._conv1d for name in self.targets)

    def offer(self, model: nn.Module) -> None:
        """The boxes of another model, all ticked but the head's; calls nobody back."""
        self._conv1d = {name.rpartition(".")[2] for name, m in model.named_modules() if isinstance(m, Conv1D)}
        counts = target_names(model).items()
        self._offer({n: tick(f"{n} ×{count}", says=_says(n, count), value=n not in HEADS) for n, count in counts})
        replace_children(self._row, list(self.boxes.values()))


def _says(name: str, count: int) -> str:
    layers = f"the layer named {name}" if count == 1 else f"the {count} layers named {name}"
    return f"Whether the adapter goes on {layers}."
