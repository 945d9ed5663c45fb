"""What an adapter costs in parameters: per path, per layer, in all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from glora_lab.record import Record

EQUAL = 0.02  # numbers of parameters that are no further apart than this are called equal


def apart(totals: Iterable[int]) -> float:
    """How much less the smallest is than the largest, relative to the largest."""
    counts = list(totals)
    return (max(counts) - min(counts)) / max(*counts, 1)


@dataclass(frozen=True, eq=False)
class PathCount(Record):
    """Trainable parameters of one path of one adapted layer.

    Attributes:
        layer: the layer's name in the model.
        path: "A" to "E"; "B" of a method without GLoRA's paths, "whole" of a module that is trained whole.
        mode: "lora", "vector", "constant" or "none"; of another method its name, and "full" of a module trained whole.
        params: how many parameters train.
        inert: why the path can do nothing here although the configuration asks for it; empty where it can.
    """

    layer: str
    path: str
    mode: str
    params: int
    inert: str = ""


@dataclass(frozen=True, eq=False)
class PathBudget(Record):
    """Trainable parameters per layer and path; `path_budget` counts them.

    Attributes:
        rows: one count for each layer and path, in the order of the model.
        method: "GLoRA", "GraLoRA", "LoRA", or as the method is called.
        model: the model's name, or its class where it has none.
        model_params: parameters of the frozen model, without the adapter's.
    """

    rows: tuple[PathCount, ...]
    method: str = "GLoRA"
    model: str = ""
    model_params: int = 0

    @property
    def total(self) -> int:
        """Trainable parameters in all."""
        return sum(row.params for row in self.rows)

    @property
    def share(self) -> float:
        """Trainable parameters over the frozen model's."""
        return self.total / self.model_params if self.model_params else float("nan")

    def by_path(self) -> dict[str, int]:
        """Path → trainable parameters, of all layers together."""
        return self._sum_by("path")

    def by_layer(self) -> dict[str, int]:
        """Layer → trainable parameters, of all its paths together."""
        return self._sum_by("layer")

    def by_layer_and_path(self) -> dict[str, dict[str, int]]:
        """Layer → path → parameters."""
        return self._sum_by_path({row.layer: row.layer for row in self.rows})

    def by_kind_and_path(self, kinds: Mapping[str, str] | None = None) -> dict[str, dict[str, int]]:
        """Kind of layer → path → parameters; `kinds` where they are to be those of several budgets together."""
        return self._sum_by_path(self.kinds() if kinds is None else kinds)

    def kinds(self) -> dict[str, str]:
        """Layer → kind: its name without indices and without what all layers share ("mlp.up_proj")."""
        layers = dict.fromkeys(row.layer for row in self.rows)
        words = {name: [word for word in name.split(".") if not word.isdigit()] for name in layers}
        shared = 0
        while all(len(w) > shared + 1 for w in words.values()) and len({w[shared] for w in words.values()}) == 1:
            shared += 1
        return {name: ".".join(w[shared:]) for name, w in words.items()}

    def inert(self) -> dict[str, str]:
        """Path → reason, for the paths that do nothing in at least one layer."""
        return {row.path: row.inert for row in self.rows if row.inert}

    def inert_everywhere(self) -> dict[str, str]:
        """Path → reason, for the paths that are asked for and have no parameter in any layer."""
        sums = self.by_path()
        return {path: reason for path, reason in self.inert().items() if not sums[path]}

    def inert_layers(self) -> dict[str, int]:
        """Path → the number of layers in which it is asked for and can do nothing."""
        layers: dict[str, int] = {}
        for row in self.rows:
            if row.inert:
                layers[row.path] = layers.get(row.path, 0) + 1
        return layers

    def _sum_by_path(self, group: Mapping[str, str]) -> dict[str, dict[str, int]]:
        sums: dict[str, dict[str, int]] = {}
        for row in self.rows:
            paths = sums.setdefault(group[row.layer], {})
            paths[row.path] = paths.get(row.path, 0) + row.params
        return sums

    def _sum_by(self, name: str) -> dict[str, int]:
        sums: dict[str, int] = {}
        for row in self.rows:
            key = getattr(row, name)
            sums[key] = sums.get(key, 0) + row.params
        return sums
