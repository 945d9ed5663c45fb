"""The vocabulary: every frozen record that crosses a module boundary.

A measure returns a record, a figure draws one, a panel shows one. Records hold numpy arrays and plain
values, never tensors, so that nothing downstream can reach back into a model. Two records are equal
when all fields are, arrays included; a record shows itself in a notebook as a small table and turns
into a list of dicts for pandas.

Axes carry one letter everywhere: o output channel, i input channel, n image, h and w its height and width; in a
grid of k×k blocks m counts the output blocks and n the input blocks, both typed "k k".
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, Int

TABLE_ROWS = 12


@dataclass(frozen=True, eq=False)
class Record:
    """What all records share: equality by value, a table for notebooks, rows for pandas."""

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        pairs = ((getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return all(
            np.array_equal(a, b) if isinstance(a, np.ndarray) or isinstance(b, np.ndarray) else a == b for a, b in pairs
        )

    __hash__ = None  # type: ignore[assignment]

    def to_dicts(self) -> list[dict[str, Any]]:
        """The record as rows: one dict per row where it has rows, else one dict of its plain fields."""
        rows = getattr(self, "rows", None)
        if rows is not None:
            return [row for record in rows for row in record.to_dicts()]
        return [{f.name: _plain(getattr(self, f.name)) for f in fields(self)}]

    def _repr_html_(self) -> str:
        rows = self.to_dicts()
        if not rows:
            return f"<p>{html.escape(type(self).__name__)}: empty</p>"
        head = "".join(f"<th>{html.escape(str(name))}</th>" for name in rows[0])
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(str(value))}</td>" for value in row.values()) + "</tr>"
            for row in rows[:TABLE_ROWS]
        )
        more = f"<p>and {len(rows) - TABLE_ROWS} more rows</p>" if len(rows) > TABLE_ROWS else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def _relative(change: np.ndarray, base: np.ndarray) -> float:
    changed, size = float(np.linalg.norm(change)), float(np.linalg.norm(base))
    return changed / size if size else (float("inf") if changed else 0.0)


def _plain(value: Any) -> Any:
    return f"array {value.shape}" if isinstance(value, np.ndarray) else value


@dataclass(frozen=True, eq=False)
class PathCount(Record):
    """Trainable parameters of one path of one adapted layer.

    `inert` is empty, or says why a path that the configuration asks for can do nothing here.
    """

    layer: str
    path: str
    mode: str
    params: int
    inert: str = ""


@dataclass(frozen=True, eq=False)
class PathBudget(Record):
    """Trainable parameters per layer and path. `model_params` counts the frozen model."""

    rows: tuple[PathCount, ...]
    method: str = "GLoRA"
    model: str = ""
    model_params: int = 0

    @property
    def total(self) -> int:
        return sum(row.params for row in self.rows)

    @property
    def share(self) -> float:
        """Trainable parameters over the frozen model's."""
        return self.total / self.model_params if self.model_params else float("nan")

    def by_path(self) -> dict[str, int]:
        return self._sum_by("path")

    def by_layer(self) -> dict[str, int]:
        return self._sum_by("layer")

    def by_layer_and_path(self) -> dict[str, dict[str, int]]:
        """Layer → path → parameters."""
        return self._sum_by_path({row.layer: row.layer for row in self.rows})

    def by_kind_and_path(self) -> dict[str, dict[str, int]]:
        """Kind of layer → path → parameters, the kinds as in `kinds`."""
        return self._sum_by_path(self.kinds())

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


@dataclass(frozen=True, eq=False)
class PathPicture(Record):
    """One GLoRA layer taken apart: W_eff = W0 + W0⊙A + B, b_eff = b0 + b0⊙D + E + W0·C.

    `w0a` is the whole A term (W0⊙A, or W0·A in the product form); `b0d`, `e` and `w0c` are the bias
    terms. A path that is off or inert contributes zeros. Ranks are numerical ranks of the two weight terms,
    None where the layer is too large to ask while a reader waits.
    """

    layer: str
    form: str
    modes: Mapping[str, str]
    params: Mapping[str, int]
    inert: Mapping[str, str]
    w0: Float[np.ndarray, "o i"]
    w0a: Float[np.ndarray, "o i"]
    b: Float[np.ndarray, "o i"]
    w_eff: Float[np.ndarray, "o i"]
    b0: Float[np.ndarray, " o"]
    b0d: Float[np.ndarray, " o"]
    e: Float[np.ndarray, " o"]
    w0c: Float[np.ndarray, " o"]
    b_eff: Float[np.ndarray, " o"]
    rank_w0a: int | None
    rank_b: int | None

    @property
    def total(self) -> int:
        """Trainable parameters of the layer."""
        return sum(self.params.values())

    @property
    def weight_change(self) -> float:
        """Frobenius norm of W_eff − W0 over that of W0."""
        return _relative(self.w_eff - self.w0, self.w0)

    @property
    def bias_change(self) -> float:
        """Norm of b_eff − b0 over that of b0; infinite where a bias appears that was not there."""
        return _relative(self.b_eff - self.b0, self.b0)


@dataclass(frozen=True, eq=False)
class Step(Record):
    """One training step. `index` counts from 1; `loss` is the batch's; `metric` is the accuracy on the
    validation part, measured every few steps and carried in between (`measured` tells); `seconds` since
    training began, pauses left out."""

    index: int
    loss: float
    metric: float
    seconds: float
    measured: bool = True


@dataclass(frozen=True, eq=False)
class Run(Record):
    """A finished training run, for comparison. `params` counts what was trained; `metric` is test accuracy."""

    name: str
    params: int
    metric: float
    seconds: float
    steps: tuple[Step, ...] = field(default=(), repr=False)

    def to_dicts(self) -> list[dict[str, Any]]:
        return [{"name": self.name, "params": self.params, "accuracy": self.metric, "seconds": round(self.seconds, 2)}]


@dataclass(frozen=True, eq=False)
class PathActivity(Record):
    """What each path does at one moment of training, summed over all layers: `norms` of the terms that the
    paths add to W0 and b0 (A to B, C to E), and each path's share of the squared gradient (0 to 1 in all)."""

    index: int
    norms: Mapping[str, float]
    shares: Mapping[str, float]

    def to_dicts(self) -> list[dict[str, Any]]:
        return [
            {"index": self.index, "path": path, "norm": self.norms[path], "gradient share": self.shares[path]}
            for path in self.norms
        ]


@dataclass(frozen=True, eq=False)
class Predictions(Record):
    """What a model says about some images: `confidence` is the probability of its own answer."""

    images: Float[np.ndarray, "n h w"]
    labels: Int[np.ndarray, " n"]
    predicted: Int[np.ndarray, " n"]
    confidence: Float[np.ndarray, " n"]

    @property
    def accuracy(self) -> float:
        return float((self.labels == self.predicted).mean())

    def first(self, n: int) -> Predictions:
        """The first `n` images and answers."""
        return Predictions(self.images[:n], self.labels[:n], self.predicted[:n], self.confidence[:n])


@dataclass(frozen=True, eq=False)
class BlockGrid(Record):
    """ΔW of one layer cut into k×k blocks [m, n]: each one's Frobenius norm, numerical rank (-1: not asked) and share
    of the squared norm (`energy`, 1 in all). `rank` is the whole's, `shape` (out, in); a hybrid's LoRA is in all."""

    layer: str
    norms: Float[np.ndarray, "k k"]
    ranks: Int[np.ndarray, "k k"]
    energy: Float[np.ndarray, "k k"]
    rank: int | None
    r: int
    hybrid_r: int
    shape: tuple[int, int]

    @property
    def k(self) -> int:
        return len(self.norms)


@dataclass(frozen=True, eq=False)
class GradientReport(Record):
    """G = ∂L/∂W (`full`), J Jᵀ G (`effective`, as it is), and how far factor·J Jᵀ G is from G: relative, per input
    channel (`deviation`), and for block [m, n] the median over its channels. `measure.entanglement` defines them."""

    layer: str
    method: str
    full: Float[np.ndarray, "o i"]
    effective: Float[np.ndarray, "o i"]
    deviation: Float[np.ndarray, " i"]
    block_deviation: Float[np.ndarray, "k k"]
    scaling: str
    factor: float
    outliers: tuple[int, ...] = ()  # input channels whose gradient is far above the median, largest first

    def deviating(self, times: float = 3.0) -> float:
        """The share of input channels whose gradient is off by more than `times` its own size."""
        return float((self.deviation > times).mean())

    def contaminated(self, times: float = 3.0) -> list[tuple[int, int]]:
        """The blocks (m, n) of which at least half the input channels are off by more than that."""
        return [(int(m), int(n)) for m, n in np.argwhere(self.block_deviation > times)]
