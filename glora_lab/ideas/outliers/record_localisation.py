"""How many input channels a fresh adapter is off for on real layers, as they are and under controls, over k."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from itertools import product
from statistics import fmean, median
from typing import Any

from glora_lab.record import Record

FIGURES = 3  # behind the point, in a file


@dataclass(frozen=True, eq=False)
class ControlledLayer(Record):
    """A layer's gradient G = ∂L/∂W (o, i) under a control, as `controlled` has it.

    Attributes:
        layer: the layer's name in the model.
        control: "as it is", "calmed", "one ×100", "even, one ×100" or "shuffled".
        inputs: its input channels, i.
        outliers: how many of them have a ‖G[:, i]‖ above five medians.
        stable_rank: ‖G‖²/σ₁², from 1 on.
    """

    layer: str
    control: str
    inputs: int
    outliers: int
    stable_rank: float


@dataclass(frozen=True, eq=False)
class ContaminatedShare(Record):
    """The share of a layer's input channels that a fresh adapter is off for by more than the sensible limit, under a
    control.

    A block's error is the median over its channels.

    Attributes:
        layer: the layer's name in the model.
        control: as in `ControlledLayer`.
        r: the adapter's rank.
        k: blocks per side, of rank r/k each; 1 is LoRA.
        off: the share, 0 to 1, the mean over draws of the adapter.
        low: the least share of a draw.
        high: the largest share of a draw.
        expected: the share that the sizes of G's columns alone let one expect.
        inside: median error of the blocks that hold the strongest channel, the mean over draws.
        outside: median error of the other blocks, the mean over draws; None for k = 1.
    """

    layer: str
    control: str
    r: int
    k: int
    off: float
    low: float
    high: float
    expected: float
    inside: float
    outside: float | None


@dataclass(frozen=True, eq=False)
class Localisation(Record):
    """Every layer under every control, rank and k, in this order; `localisation` measures it.

    Attributes:
        rows: one share for each layer, control, rank and k.
        layers: one gradient for each layer and control.
        made: of what and on what it was made: model, task, texts, draws, versions.
    """

    rows: tuple[ContaminatedShare, ...]
    layers: tuple[ControlledLayer, ...]
    made: dict[str, Any]

    @property
    def controls(self) -> tuple[str, ...]:
        """In the order of the layers' rows."""
        return tuple(dict.fromkeys(row.control for row in self.layers))

    @property
    def ranks(self) -> tuple[int, ...]:
        """In the order of the rows."""
        return tuple(dict.fromkeys(row.r for row in self.rows))

    @property
    def ks(self) -> tuple[int, ...]:
        """Blocks per side, the fewest first."""
        return tuple(sorted({row.k for row in self.rows}))

    def only(self, wanted: Callable[[str], bool]) -> Localisation:
        """The layers whose name is wanted, alone."""
        rows = tuple(row for row in self.rows if wanted(row.layer))
        return replace(self, rows=rows, layers=tuple(row for row in self.layers if wanted(row.layer)))

    def of(self, control: str, r: int, k: int | None = None) -> tuple[ContaminatedShare, ...]:
        """Those of a control and rank, of one k or all."""
        return tuple(row for row in self.rows if (row.control, row.r) == (control, r) and k in (None, row.k))

    def cell(self, layer: str, control: str, r: int, k: int) -> ContaminatedShare:
        """The one row of a layer, control, rank and k; ValueError where there is none."""
        (found,) = (row for row in self.of(control, r, k) if row.layer == layer)
        return found

    def share(self, control: str, r: int, k: int, *, expected: bool = False) -> float:
        """Its mean over the layers."""
        return fmean(row.expected if expected else row.off for row in self.of(control, r, k))

    def fall(self, control: str, r: int) -> float:
        """What is left at the largest k of the share at k = 1: 1/k where it localises wholly, 1 where not at all."""
        return self.share(control, r, max(self.ks)) / self.share(control, r, 1)

    def price(self, control: str, r: int, k: int) -> float:
        """The median over layers of the error inside the strongest channel's block, in that of LoRA there."""
        alone = {row.layer: row.inside for row in self.of(control, r, 1)}
        return median(row.inside / alone[row.layer] for row in self.of(control, r, k))

    def miss(self, control: str, r: int) -> float:
        """How far what was expected is from what was found: the mean over layers and k."""
        return fmean(abs(row.expected - row.off) for row in self.of(control, r))

    def to_json(self) -> str:
        """Numbers alone, to three figures behind the point, in the order of layers, controls, ranks and ks."""
        held: dict[str, Any] = {
            "made": self.made,
            "layers": {row.layer: row.inputs for row in self.layers},
            "controls": self.controls,
            "ranks": self.ranks,
            "ks": self.ks,
            "gradients": [[row.outliers, round(row.stable_rank, FIGURES)] for row in self.layers],
            "shares": [[_short(value) for value in astuple(row)[4:]] for row in self.rows],
        }
        lines = (
            json.dumps({name: value}, ensure_ascii=False, separators=(",", ":"))[1:-1] for name, value in held.items()
        )
        return "{" + ",\n".join(lines) + "}\n"

    @classmethod
    def from_json(cls, text: str) -> Localisation:
        """What `to_json` wrote."""
        held = json.loads(text)
        layers = product(held["layers"].items(), held["controls"])
        cells = product(held["layers"], held["controls"], held["ranks"], held["ks"])
        return cls(
            tuple(ContaminatedShare(*cell, *row) for cell, row in zip(cells, held["shares"], strict=True)),
            tuple(
                ControlledLayer(layer, control, inputs, *row)
                for ((layer, inputs), control), row in zip(layers, held["gradients"], strict=True)
            ),
            held["made"],
        )


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, FIGURES)
