"""The two halves of a gradient report: ∂L/∂W at a layer, and what first order makes of it through an adapter."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from glora_lab.adapters.view import adapter_parameters, delta_matrix
from glora_lab.models.mode import eval_mode


def weight_gradient(model: nn.Module, layer: Any, name: str, loss: Callable[[], Tensor]) -> Tensor:
    """∂L/∂W of the layer's effective weight, (out, in) in float64: Σ over tokens of ∂L/∂y xᵀ, y = W·x + b.

    No parameter's `.grad`, `requires_grad` or the model's modes are touched: the gradient is taken at zeros that
    are added to what the layer returns.
    """
    inputs: list[Tensor] = []
    probes: list[Tensor] = []

    def watch(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        inputs.append(args[0].detach())
        probes.append(torch.zeros_like(output).requires_grad_())
        return output + probes[-1]

    hook = layer.register_forward_hook(watch)
    try:
        with eval_mode(model), torch.enable_grad():
            value = loss()
            gradients = torch.autograd.grad(value, probes, allow_unused=True) if value.requires_grad else []
    finally:
        hook.remove()
    pairs = [(x, g) for x, g in zip(inputs, gradients, strict=False) if g is not None]
    if not pairs:
        raise ValueError(f"`layer` (={name!r}) has no part in the loss of this `batch`")
    return sum(_outer(x, g) for x, g in pairs)  # type: ignore[return-value]


def _outer(x: Tensor, g: Tensor) -> Tensor:
    """(..., in), (..., out) → (out, in), summed over the tokens."""
    return g.reshape(-1, g.shape[-1]).double().T @ x.reshape(-1, x.shape[-1]).double()


def effective_change(layer: Any, adapter: str, gradient: Tensor) -> Tensor:
    """J Jᵀ G as (out, in), J the Jacobian of ΔW in the adapter's parameters: one vjp and one jvp of `delta_matrix`."""
    _load_forward_mode()
    every = {id(p): p for _, p in adapter_parameters(layer, adapter)}
    moving = [p for p in every.values() if p.requires_grad] or [*every.values()]
    wanted = {id(p) for p in moving}
    delta = _Delta(layer, adapter)
    point = {name: p.detach().double() for name, p in delta.named_parameters() if id(p) in wanted}

    def change(parameters: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(delta, parameters)

    pull_back: Any = torch.func.vjp(change, point)[1]
    (down,) = pull_back(gradient)
    return torch.func.jvp(change, (point,), (down,))[1]


class _Delta(nn.Module):
    """ΔW of one adapter as a module, for `functional_call` to put other parameters in."""

    def __init__(self, layer: Any, adapter: str) -> None:
        super().__init__()
        self.layer, self.adapter = layer, adapter

    def forward(self) -> Tensor:
        return delta_matrix(self.layer, self.adapter)


@functools.cache
def _load_forward_mode() -> None:
    """torch compiles its forward-mode formulas at the first jvp, with a function that it deprecates itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        one = torch.ones(())
        torch.func.jvp(torch.square, (one,), (one,))
