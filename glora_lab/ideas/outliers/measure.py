"""The strongest channel of what every linear layer is given, and of its gradient: one pass forward and one back.

Decisions. G is found from what goes into a layer and what comes back to it, as for a gradient report, so no `.grad` is
touched. Padding is no token: where the batch has an attention mask, what it hides counts for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from glora_lab.adapters.view import adapted_layers
from glora_lab.anatomy.batch import Batch, Loss, loss_of
from glora_lab.models.mode import eval_mode

from .record import LayerOutliers, Outliers

LINEAR = ("Linear", "Conv1D")


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
    if adapted_layers(model):
        raise ValueError(f"`model` (={type(model).__name__}) carries an adapter already; give the model beneath it")
    given: dict[str, list[tuple[Tensor, Tensor]]] = {}
    hooks = []
    for name, module in model.named_modules():
        if type(module).__name__ in LINEAR:
            hooks.append(module.register_forward_hook(_watch(given.setdefault(name, []))))
    try:
        with eval_mode(model), torch.enable_grad():
            value = loss_of(model, batch, loss)
            probes = [probe for calls in given.values() for _, probe in calls]
            gradients = torch.autograd.grad(value, probes, allow_unused=True) if probes else ()
    finally:
        for hook in hooks:
            hook.remove()
    if not probes:
        raise ValueError(f"`model` (={type(model).__name__}) must have a linear layer that the batch goes through")
    back = iter(gradients)
    mask = batch.get("attention_mask") if isinstance(batch, Mapping) else None
    rows, tokens = [], 0
    for name, calls in given.items():
        pairs = [_tokens(x, next(back), mask) for x, _ in calls]
        if pairs:
            rows.append(_row(name, torch.cat([x for x, _ in pairs]), sum(g.T @ x for x, g in pairs)))
            tokens = max(tokens, max(len(x) for x, _ in pairs))
    return Outliers(tuple(rows), tokens)


def _watch(calls: list[tuple[Tensor, Tensor]]) -> Any:
    def watch(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        probe = torch.zeros_like(output).requires_grad_()
        calls.append((args[0].detach(), probe))
        return output + probe

    return watch


def _tokens(x: Tensor, g: Tensor | None, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """(t, in) and (t, out) in float64, without what the mask hides; zeros where nothing comes back."""
    g = x.new_zeros(*x.shape[:-1], 1) if g is None else g
    if mask is not None and mask.shape == x.shape[:-1]:
        return x[mask != 0].double(), g[mask != 0].double()
    return x.reshape(-1, x.shape[-1]).double(), g.reshape(-1, g.shape[-1]).double()


def _row(name: str, x: Tensor, gradient: Any) -> LayerOutliers:
    channel, size = _strongest(x.square().mean(0).sqrt())
    gradient_channel, gradient_size = _strongest(gradient.norm(dim=0))
    first = torch.linalg.matrix_norm(gradient, 2) if gradient_size else gradient.new_zeros(())
    rank = (gradient.norm() / first).square().item() if first > 0 else 0.0
    return LayerOutliers(name, channel, size, gradient_channel, gradient_size, rank)


def _strongest(sizes: Tensor) -> tuple[int, float]:
    """The largest of (i,), and how many medians of those that are not 0 it is."""
    if not sizes.any():
        return -1, 0.0
    channel = int(sizes.argmax())
    return channel, (sizes[channel] / sizes[sizes > 0].median()).item()
