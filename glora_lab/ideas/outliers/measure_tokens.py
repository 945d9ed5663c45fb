"""What every token brings to a linear layer, and what of the loss comes back to it: x and g, of which G = Σ g xᵀ.

One pass forward and one back. Decision: G is found from the two, as for a gradient report, so no `.grad` is touched.
Padding is no token: where the batch has an attention mask, what it hides counts for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from glora_lab.adapters.view import adapted_layers
from glora_lab.anatomy.batch import Batch, Loss, loss_of
from glora_lab.arguments import refuse
from glora_lab.models.mode import eval_mode

if TYPE_CHECKING:
    from jaxtyping import Float

LINEAR = ("Linear", "Conv1D")


class LayerTokens(NamedTuple):
    """One layer's tokens: what goes in, and ∂L/∂y of what comes out, 0 where the loss does not hear of it."""

    x: Float[Tensor, "t i"]
    g: Float[Tensor, "t o"]

    @property
    def gradient(self) -> Float[Tensor, "o i"]:
        """G = ∂L/∂W, in float64."""
        return self.g.double().T @ self.x.double()


def layer_tokens(
    model: nn.Module, batch: Batch, layers: Collection[str] | None = None, *, loss: Loss | None = None
) -> dict[str, LayerTokens]:
    """Layer → its tokens, for the linear layers that the batch goes through; one that runs more than once has them all.

    Args:
        model: asked in evaluation mode, and left as it was.
        batch: the model's keyword arguments as a dict, the loss being its output's, or a tuple (inputs, targets).
        layers: the names of those that are wanted, None for all.
        loss: `loss(outputs, targets)` for a tuple; mean squared error by default.

    Raises:
        ValueError: for a model that carries an adapter, or has no such layer in the batch's way; for a batch that
            gives no loss.
    """
    if layers is not None and (isinstance(layers, str) or not isinstance(layers, Collection) or not layers):
        raise refuse("layers", layers, "must be the names of linear layers in a list, or None for all")
    if adapted_layers(model):
        raise ValueError(f"`model` (={type(model).__name__}) carries an adapter already; give the model beneath it")
    given: dict[str, list[tuple[Tensor, Tensor]]] = {}
    hooks = []
    for name, module in model.named_modules():
        if type(module).__name__ in LINEAR and (layers is None or name in layers):
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
        called = "" if layers is None else f" of {', '.join(map(str, layers))}"
        raise ValueError(
            f"`model` (={type(model).__name__}) must have a linear layer{called} that the batch goes through"
        )
    back = iter(gradients)
    mask = batch.get("attention_mask") if isinstance(batch, Mapping) else None
    found = {}
    for name, calls in given.items():
        pairs = [_tokens(x, next(back), probe.shape[-1], mask) for x, probe in calls]
        if pairs:
            found[name] = LayerTokens(torch.cat([x for x, _ in pairs]), torch.cat([g for _, g in pairs]))
    return found


def _watch(calls: list[tuple[Tensor, Tensor]]) -> Callable[..., Any]:
    def watch(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        probe = torch.zeros_like(output).requires_grad_()
        calls.append((args[0].detach(), probe))
        return output + probe

    return watch


def _tokens(x: Tensor, g: Tensor | None, out: int, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """(t, in) and (t, out), without what the mask hides."""
    g = x.new_zeros(*x.shape[:-1], out) if g is None else g
    if mask is not None and mask.shape == x.shape[:-1]:
        return x[mask != 0], g[mask != 0]
    return x.reshape(-1, x.shape[-1]), g.reshape(-1, g.shape[-1])
