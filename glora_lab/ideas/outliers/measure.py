"""The strongest channel of what every linear layer is given, and of its gradient: one pass forward and one back."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from glora_lab.anatomy.batch import Batch, Loss

from .measure_tokens import LayerTokens, layer_tokens
from .record import LayerOutliers, Outliers


def outliers(model: nn.Module, batch: Batch, *, loss: Loss | None = None) -> Outliers:
    """How far the strongest input channel of every linear layer is above the median, in x and in G = ∂L/∂W.

    Args:
        model: asked in evaluation mode, and left as it was. Its head may be fresh: G is then the start of training.
        batch: the model's keyword arguments as a dict, the loss being its output's, or a tuple (inputs, targets).
        loss: `loss(outputs, targets)` for a tuple; mean squared error by default.

    Returns:
        The layers that the batch goes through. A layer that runs more than once adds up.

    Raises:
        ValueError: for a model that carries an adapter, or has no linear layer in the batch's way; for a batch that
            gives no loss.
    """
    found = layer_tokens(model, batch, loss=loss)
    rows = tuple(_row(name, tokens) for name, tokens in found.items())
    return Outliers(rows, max(len(tokens.x) for tokens in found.values()))


def stable_rank(gradient: Tensor) -> float:
    """‖G‖²/σ₁², 0 where G is. σ₁² is found as an eigenvalue of the smaller of GGᵀ and GᵀG: ten times as quick."""
    shorter = gradient if len(gradient) <= gradient.shape[1] else gradient.T
    first = torch.linalg.eigvalsh(shorter @ shorter.T)[-1]
    return (gradient.square().sum() / first).item() if first > 0 else 0.0


def median(sizes: Tensor) -> Tensor:
    """Of those that are not 0; between two in the middle their mean, as in a gradient report."""
    return sizes[sizes > 0].quantile(0.5)


def strongest(sizes: Tensor) -> tuple[int, float]:
    """The largest of (i,), and how many medians of those that are not 0 it is; -1 and 0 where all are 0."""
    if not sizes.any():
        return -1, 0.0
    channel = int(sizes.argmax())
    return channel, (sizes[channel] / median(sizes)).item()


def _row(name: str, tokens: LayerTokens) -> LayerOutliers:
    gradient = tokens.gradient
    inputs, columns = strongest(tokens.x.double().square().mean(0).sqrt()), strongest(gradient.norm(dim=0))
    return LayerOutliers(name, *inputs, *columns, stable_rank(gradient))
