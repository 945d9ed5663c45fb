"""The strongest channel of every linear layer of a model."""

from __future__ import annotations

from dataclasses import dataclass

from glora_lab.record import Record


@dataclass(frozen=True, eq=False)
class LayerOutliers(Record):
    """One layer's strongest input channels: of its inputs x, and of its gradient G = ∂L/∂W (o, i).

    A size is in medians of the channels that are not 0: of the root mean square of x over tokens, and of ‖G[:, i]‖.
    Channel -1, with size 0, where all are 0. `stable_rank` is ‖G‖²/σ₁², 0 where G is.
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
    """Every linear layer that a batch goes through, in the order of the model. `tokens` of it were looked at."""

    rows: tuple[LayerOutliers, ...]
    tokens: int

    def strongest(self) -> tuple[LayerOutliers, LayerOutliers]:
        """The layer of the largest input channel, and that of the largest gradient column."""
        return max(self.rows, key=lambda row: row.size), max(self.rows, key=lambda row: row.gradient_size)
