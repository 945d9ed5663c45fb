"""One linear layer and a batch in which one input channel is far larger than the others, to study what it does.

Large language models have such channels (arXiv 2505.20355 finds 198 and 2427 before LLaMA3.1-8B's first down_proj);
here one is made, so that its place and its size can be chosen. Decision: by default the layer is off its targets by
noise alone, so the residual is the same whatever the channel does, and the gradient ∂L/∂W grows in the one column that
the channel meets. With `change` the targets ask for another weight too, and then the channel weighs in the residual.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from glora_lab.arguments import check_number, check_seed, refuse

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

#: The name of its layer in the model of `outlier_layer`, for `target_modules` and `gradient_report`.
OUTLIER_LAYER = "synthetic"


def outlier_layer(
    *,
    size: int | tuple[int, int] = 256,
    channel: int = 10,
    magnitude: float = 100.0,
    tokens: int = 64,
    seed: int = 0,
    change: float = 0.0,
) -> tuple[nn.Module, tuple[Float[Tensor, "t i"], Float[Tensor, "t o"]]]:
    """A model of one linear layer, called `synthetic`, and a batch (inputs, targets) for a mean squared error.

    Inputs, the weight and the bias are drawn from `seed` alone: neither `channel` nor `magnitude` changes any other
    number, and the global random state is left as it was.

    Args:
        size: (out, in) features of the layer, or one number for both.
        channel: the input channel that is multiplied.
        magnitude: by how much; 1 leaves the batch without an outlier.
        tokens: t, rows of the batch.
        seed: of everything that is drawn.
        change: standard deviation, without the outlier, of what the targets ask for beyond noise: they are
            (W + change·D)·x + b + noise, D and noise Gaussian of variance 1/in and 1.

    Returns:
        The model, and inputs (t, in) with targets (t, out). The outlier is that of the gradients in arXiv 2505.20355,
        Figs 3, 4, 6 and 9, on a layer that one can see through.

    Raises:
        ValueError: for a size, a channel or a number that is not possible.
    """
    out, into = size if isinstance(size, tuple | list) and len(size) == 2 else (size, size)
    for name, value in (("size", out), ("size", into), ("tokens", tokens)):
        if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
            raise ValueError(f"`{name}` (={size if name == 'size' else value!r}) must be positive integers")
    _check_channel(channel, into)
    _check_magnitude(magnitude)
    check_seed(seed)
    check_number("change", change)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = nn.Linear(into, out)
        x = torch.randn(tokens, into)
        noise = torch.randn(tokens, out)
        asked = change * torch.randn(out, into) / into**0.5
    x[:, channel] *= magnitude
    with torch.no_grad():
        targets = layer(x) + x @ asked.T + noise
    return nn.Sequential(OrderedDict({OUTLIER_LAYER: layer})), (x, targets)


@contextmanager
def amplified(layer: nn.Module, channel: int, magnitude: float) -> Iterator[None]:
    """Within the block a layer of any model gets one of its inputs multiplied: as an outlier would arrive.

    All that follows the layer sees the change, the loss as well.

    Args:
        layer: a linear layer of the model, x (…, in).
        channel: the input channel, from 0 to in − 1.
        magnitude: by how much, at least 0; 1 changes nothing.

    Raises:
        ValueError: for a channel that the layer does not have, or a magnitude that is none.
    """
    if not isinstance(layer, nn.Module) or not isinstance(getattr(layer, "in_features", None), int):
        raise refuse("layer", type(layer).__name__, "must be a linear layer (nn.Linear), which has in_features")
    _check_channel(channel, layer.in_features)  # type: ignore[arg-type]
    _check_magnitude(magnitude)

    def multiply(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        factors = torch.ones(args[0].shape[-1], dtype=args[0].dtype, device=args[0].device)
        factors[channel] = magnitude
        return args[0] * factors, *args[1:]

    hook = layer.register_forward_pre_hook(multiply)
    try:
        yield
    finally:
        hook.remove()


def _check_channel(channel: int, into: int) -> None:
    if isinstance(channel, bool) or not isinstance(channel, Integral) or not 0 <= channel < into:
        raise ValueError(f"`channel` (={channel!r}) must be an integer from 0 to {into - 1}")


def _check_magnitude(magnitude: float) -> None:
    if isinstance(magnitude, bool) or not isinstance(magnitude, Real) or not 0 <= magnitude < float("inf"):
        raise ValueError(f"`magnitude` (={magnitude!r}) must be a number of at least 0")
