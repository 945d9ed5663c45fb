"""The strongest channel of every linear layer of a model."""

from __future__ import annotations

from dataclasses import dataclass

from glora_lab.record import Record


@dataclass(frozen=True, eq=False)
class LayerOutliers(Record):
    """One layer's strongest input channels: of its inputs x, and of its gradient G = ∂L/∂W (o, i).

    Attributes:
        layer: the layer's name in the model.
        channel: the input channel whose root mean square over the tokens is largest; -1 where all are 0.
        size: that in medians of the channels that are not 0; 0 where all are.
        gradient_channel: the input channel whose ‖G[:, i]‖ is largest; -1 where all are 0.
        gradient_size: that in medians of the channels that are not 0; 0 where all are.
        stable_rank: ‖G‖²/σ₁², from 1 on; 0 where G is zero.
    """

    layer: str
    channel: int
    size: float
    gradient_channel: int
    gradient_size: float
    stable_rank: float

    @property
    def same(self) -> bool:
        """Whether the strongest of both is one channel."""
        return self.channel == self.gradient_channel >= 0

    def cell(self) -> tuple[str, str]:
        """(block, module): "encoder.layer.3.attention.query" is ("encoder.layer.3", "attention.query")."""
        words = self.layer.split(".")
        first = next((n for n, word in enumerate(words[:-1]) if word.isdigit()), -1)
        return ".".join(words[: first + 1]), ".".join(words[first + 1 :])


@dataclass(frozen=True, eq=False)
class Outliers(Record):
    """Every linear layer that a batch goes through; `outliers` measures it.

    Attributes:
        rows: one for each layer, in the order of the model.
        tokens: how many tokens of the batch were looked at.
    """

    rows: tuple[LayerOutliers, ...]
    tokens: int

    def strongest(self) -> tuple[LayerOutliers, LayerOutliers]:
        """The layer of the largest input channel, and that of the largest gradient column."""
        return max(self.rows, key=lambda row: row.size), max(self.rows, key=lambda row: row.gradient_size)
