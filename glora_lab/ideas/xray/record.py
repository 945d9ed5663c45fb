"""A whole adapter, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np

from glora_lab.record import Record

from .record_spectrum import Spectrum

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True, eq=False)
class XrayLayer(Record):
    """What an adapter adds to one layer. LoRA and GraLoRA are a path B alone.

    Attributes:
        layer: the layer's name in the model.
        shape: (out, in).
        r: the rank here.
        params: trainable parameters.
        norm: Frobenius norm of ΔW, in the weight's own unit, without the paths in `unknown`; nan where nothing is left.
        spectrum: ΔW's singular values, likewise; None where nothing is left, or it was too large to ask for.
        parts: path → norm of what it adds, A and B to the weight, C, D and E to the bias; nan of those in `unknown`.
        block_norms: Frobenius norm of each of GraLoRA's blocks [m, n], (k, k); None of another method.
        unknown: the paths that need the base model.
    """

    layer: str
    shape: tuple[int, int]
    r: int
    params: int
    norm: float
    spectrum: Spectrum | None
    parts: Mapping[str, float]
    block_norms: Float[np.ndarray, "k k"] | None = None
    unknown: tuple[str, ...] = ()

    @property
    def effective_rank(self) -> float:
        """That of the spectrum; nan where there is none."""
        return float("nan") if self.spectrum is None else self.spectrum.effective_rank

    def share(self, part: str) -> float:
        """A path's share of the energy of A and B together, or of C, D and E; that of a block "m,n" of all blocks.

        nan where it is unknown, not in this layer, or all are zero.
        """
        norms = self._norms_beside(part)
        whole = sum(norm**2 for norm in norms.values())
        return norms[part] ** 2 / whole if part in norms and whole else float("nan")

    def _norms_beside(self, part: str) -> Mapping[str, float]:
        if part in self.parts:
            return {path: norm for path, norm in self.parts.items() if (path in "AB") == (part in "AB")}
        blocks = () if self.block_norms is None else np.ndenumerate(self.block_norms)
        return {f"{m},{n}": float(norm) for (m, n), norm in blocks}

    def to_dicts(self) -> list[dict[str, Any]]:
        numbers = {"norm": self.norm, "effective rank": self.effective_rank, **self.parts}
        shown = {name: float(f"{value:.4g}") for name, value in numbers.items()}
        out, into = self.shape
        return [{"layer": self.layer, "out": out, "in": into, "r": self.r, "params": self.params, **shown}]


@dataclass(frozen=True, eq=False)
class XrayReport(Record):
    """A whole adapter, layer by layer; `xray` measures it.

    Attributes:
        rows: the layers, in the model's order.
        method: "LoRA", "GLoRA", "GraLoRA", "stock GLoRA", "stock GraLoRA", or the name of a method of one's own.
        source: the folder, or which adapter in memory.
        base_name: the base model, as the configuration names it.
        others: trained tensors that belong to no ΔW: a head, biases.
        notes: what a reader has to know to read the numbers.
    """

    rows: tuple[XrayLayer, ...]
    method: str
    source: str = ""
    base_name: str = ""
    others: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def params(self) -> int:
        """What the adapter trains in all of these layers."""
        return sum(row.params for row in self.rows)

    @property
    def norm(self) -> float:
        """Of all layers' ΔW together."""
        return float(np.sqrt(np.nansum([row.norm**2 for row in self.rows])))

    def row(self, layer: str) -> XrayLayer:
        """The layer of that name; KeyError for another."""
        for row in self.rows:
            if row.layer == layer:
                return row
        raise KeyError(layer)

    def strongest(self, count: int = 10) -> list[XrayLayer]:
        """The layers that change most by norm, the largest first."""
        known = [row for row in self.rows if not np.isnan(row.norm)]
        return sorted(known, key=lambda row: -row.norm)[:count]

    def part_names(self) -> list[str]:
        """The paths that any layer has, or GraLoRA's blocks as "m,n", most of which a reader may choose from."""
        paths = [path for path in "ABCDE" if any(path in row.parts for row in self.rows)]
        k = max((0 if row.block_norms is None else len(row.block_norms) for row in self.rows), default=0)
        blocks = [f"{m},{n}" for m in range(k) for n in range(k)] if k > 1 else []
        return blocks or (paths if len(paths) > 1 else [])

    def unknown_paths(self) -> list[str]:
        """The paths that need the base model to be known in some layer."""
        return sorted({path for row in self.rows for path in row.unknown})

    def cell(self, layer: str) -> tuple[str, str]:
        """(block, module) of a layer: "model.layers.3.mlp.up_proj" is ("model.layers.3", "mlp.up_proj")."""
        words = layer.split(".")
        first = next((n for n, word in enumerate(words[:-1]) if word.isdigit()), -1)
        return ".".join(words[: first + 1]), ".".join(words[first + 1 :])

    def stem(self) -> str:
        """What the names of all blocks begin with, up to a dot: "model.layers."."""
        blocks = [block.split(".")[:-1] for block in {self.cell(row.layer)[0] for row in self.rows} if block]
        shared = takewhile(lambda words: len(set(words)) == 1, zip(*blocks, strict=False))
        return "".join(f"{words[0]}." for words in shared)
