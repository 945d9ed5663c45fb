"""A layer's gradient as it would be with other inputs: outliers calmed, one planted, all channels made even, shuffled.

Decision: nothing else changes. Where channel i comes in f times as large and W's column i is f times smaller, the layer
computes what it did, the same comes back to it, and column i of G is f times as large: outliers are moved between
inputs and weights so by SmoothQuant (arXiv 2211.10438). So what a control does to the adapters is not mixed with what
it would do to the loss. Only the shuffle has no such layer: it asks what is left where x and g do not belong together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from glora_lab.arguments import check_choice, check_count, check_kind

from .measure import median
from .measure_tokens import LayerTokens

if TYPE_CHECKING:
    from jaxtyping import Float

FAR_ABOVE = 5.0  # medians: from here on a column of G is an outlier's, as in a gradient report
PLANTED = 100.0  # medians
AS_IT_IS, CALMED, PLANTED_ONE, EVEN, SHUFFLED = "as it is", "calmed", "one ×100", "even, one ×100", "shuffled"

# control → the factor of every column, of ‖G[:, i]‖ in medians; 0 where there is no gradient
FACTORS: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        AS_IT_IS: torch.ones_like,
        CALMED: lambda sizes: _calmed(sizes),
        PLANTED_ONE: lambda sizes: _planted(sizes, _calmed(sizes)),
        EVEN: lambda sizes: _planted(sizes, 1 / sizes),
    }
)
CONTROLS = (*FACTORS, SHUFFLED)


def controlled(tokens: LayerTokens, control: str, *, seed: int = 0) -> Float[Tensor, "o i"]:
    """G = ∂L/∂W under a control, in float64. A column of G that is 0 stays so.

    Args:
        tokens: what the layer was given and what came back to it, as `layer_tokens` finds it.
        control: "as it is"; "calmed", every column of G above five medians brought down to one; "one ×100", the same,
            and the strongest channel then at a hundred medians; "even, one ×100", every column at the median but that
            one; "shuffled", the tokens' inputs dealt out anew to what comes back.
        seed: of the shuffle.

    Returns:
        (out, in). The controls move outliers between inputs and weights, as SmoothQuant does (arXiv 2211.10438).

    Raises:
        ValueError: for another control, or a seed that is none.
    """
    check_kind("tokens", tokens, LayerTokens, "must be the LayerTokens of one layer, of those that layer_tokens gives")
    check_choice("control", control, CONTROLS)
    check_count("seed", seed)
    if control == SHUFFLED:
        order = torch.randperm(len(tokens.x), generator=torch.Generator().manual_seed(seed))
        return LayerTokens(tokens.x[order.to(tokens.x.device)], tokens.g).gradient
    gradient = tokens.gradient
    sizes = gradient.norm(dim=0)
    live = sizes > 0
    if live.any():
        gradient[:, live] *= FACTORS[control](sizes[live] / median(sizes))
    return gradient


def _calmed(sizes: Tensor) -> Tensor:
    return torch.where(sizes > FAR_ABOVE, 1 / sizes, torch.ones_like(sizes))


def _planted(sizes: Tensor, factors: Tensor) -> Tensor:
    """The factors, and the strongest channel at so many medians."""
    strongest = sizes.argmax()
    return factors.index_fill(0, strongest, PLANTED / float(sizes[strongest]))
